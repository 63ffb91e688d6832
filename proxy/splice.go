package proxy

// A splice collects what of a chunk is passed on. While that is one run of the
// chunk, as it almost always is, nothing is copied.
type splice struct {
	run   []byte
	owned bool
}

func (s *splice) add(b []byte) {
	n := len(s.run)
	switch {
	case len(b) == 0:
	case n == 0:
		s.run = b
	case !s.owned && cap(s.run) > n && &s.run[:n+1][n] == &b[0]:
		s.run = s.run[:n+len(b)]
	case !s.owned:
		s.run, s.owned = append(append(make([]byte, 0, n+len(b)+maxHeader), s.run...), b...), true
	default:
		s.run = append(s.run, b...)
	}
}
