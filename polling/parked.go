package polling

import "strconv"

// chunkHead is the most that stands before the bytes of a chunk (RFC 9112 §7.1).
const chunkHead = len("ffffffff\r\n")

// chunk is b behind its first chunkHead bytes, which are room, as it is sent; last: the
// answer ends behind it.
func chunk(b []byte, last bool) []byte {
	at := chunkHead
	if n := len(b) - chunkHead; n > 0 {
		var room [chunkHead]byte
		head := append(strconv.AppendUint(room[:0], uint64(n), 16), "\r\n"...)
		at -= len(head)
		copy(b[at:], head)
		b = append(b, "\r\n"...)
	}
	if last {
		b = append(b, "0\r\n\r\n"...)
	}
	return b[at:]
}

// park takes the connection out of net/http, behind what was written, and puts it into
// the lot. False: the lot takes nobody any more.
func (s *Stream) park() bool {
	q := s.held
	q.desk.renew(q.c)
	if q.flush() != nil { // the head, if nothing was written
		return false
	}
	seat, conn, ahead := q.desk.vacate(q.w)
	if seat == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.seat, s.after = nil, seat, s.written
	seat.gone = s.source.Gone
	seat.loop.Do(func() { seat.sit(conn, ahead) })
	return true
}

// pump is the part of a parked stream's writer. It lasts until there is nothing to
// say, or the client takes no more: then the loop goes on.
func (s *Stream) pump() {
	for {
		s.mu.Lock()
		s.woken = false
		s.mu.Unlock()
		wrote, more := s.say()
		if !wrote || !more && s.rest() {
			return
		}
	}
}

// rest ends the writer's part, unless Wake was called meanwhile.
func (s *Stream) rest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = s.woken
	return !s.woken
}

// say writes what there is to say, once. wrote: all of it was, and the answer goes on;
// otherwise the writer's part is the loop's, or nobody's any more.
func (s *Stream) say() (wrote, more bool) {
	space := spaces.Get().(*[]byte)
	b, more, ends := s.source.Next((*space)[:chunkHead])
	if len(b) == chunkHead && !ends {
		spaces.Put(space)
		return true, false
	}
	s.space, s.ending = space, ends
	taken, out, ok := s.seat.answer(chunk(b, ends), ends, s.after)
	switch {
	case !taken: // the client has gone
		spaces.Put(space)
		return false, false
	case !out:
		return false, false
	}
	return s.settle(ok), more
}

// written is the loop's word, on a goroutine of its own, on what was not taken at once.
func (s *Stream) written(ok bool) {
	if s.settle(ok) {
		s.pump()
	}
}

// settle is what follows a write, and reports whether the answer goes on.
func (s *Stream) settle(ok bool) bool {
	spaces.Put(s.space)
	s.space = nil
	if s.ending {
		s.source.Gone()
	}
	return ok && !s.ending
}
