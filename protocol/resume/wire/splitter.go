package wire

// A Splitter finds the frames of a stream that comes in pieces cut anywhere. It
// holds at most one frame that is not whole yet, and only what has come of it. The
// zero value is ready.
type Splitter struct {
	kept  []byte
	whole bool // kept is the frame that was returned last
}

// keptRoom is how much room is kept for the next frame that comes in pieces.
const keptRoom = 4 << 10

// Next takes the first frame from p, or from what came before and p, and returns
// what is left of p; without one, all of p was taken. The frame's body is lent
// until the next call. After an error the stream is of no use.
func (s *Splitter) Next(p []byte) (f Frame, rest []byte, ok bool, err error) {
	if s.whole {
		s.whole, s.kept = false, s.kept[:0]
		if cap(s.kept) > keptRoom {
			s.kept = nil
		}
	}
	if len(s.kept) > 0 {
		return s.fill(p)
	}
	f, rest, err = Split(p)
	if err == ErrCut {
		s.kept = append(s.kept, p...)
		return Frame{}, nil, false, nil
	}
	return f, rest, err == nil, err
}

// fill adds to what is kept no more than its frame asks for.
func (s *Splitter) fill(p []byte) (f Frame, rest []byte, ok bool, err error) {
	for {
		head, body, err := header(s.kept)
		if err != nil && err != ErrCut {
			return Frame{}, nil, false, err
		}
		need := head + body - len(s.kept)
		if err == ErrCut {
			need = 1
		}
		n := min(need, len(p))
		s.kept = append(s.kept, p[:n]...)
		p = p[n:]
		switch {
		case n < need:
			return Frame{}, nil, false, nil
		case err == nil:
			s.whole = true
			f, _, err := Split(s.kept)
			return f, p, true, err
		}
	}
}

// Held is how many bytes of a frame that is not whole yet are held.
func (s *Splitter) Held() int {
	if s.whole {
		return 0
	}
	return len(s.kept)
}
