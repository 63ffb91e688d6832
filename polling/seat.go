package polling

import (
	"errors"
	"net"
	"time"

	"sidecar/loop"
)

// endTime is how long a client has to take the last answer before the connection
// is closed: what it still sends would otherwise make the kernel throw that away.
const endTime = 500 * time.Millisecond

// A stage is what a seat's connection waits for. They follow each other.
type stage uint8

const (
	fresh   stage = iota // to be taken out of net/http
	held                 // an answer, or what follows in a stream
	writing              // the client, to take the rest of the answer
	idle                 // the next request
	ending               // the client, to close: we said that we shall
	over                 // nothing
)

// A seat is a connection in the lot, from the time its poll is parked until it is
// given back or closed. Its fields are touched only within a callback of its loop,
// or Do; loop and lot never change.
type seat struct {
	socket  loop.Socket
	timer   loop.Timer // for writing, idle and ending
	lot     *Lot
	loop    *loop.Loop
	conn    net.Conn // as net/http had it
	gone    func()   // nil: nobody is to be told
	rest    []byte   // of the answer; while held what the client sent ahead
	done    func(ok bool)
	timeout time.Duration // for writing
	stage   stage
	early   bool // the client has sent more: it is not watched until it was answered
	last    bool // what is being written is the end of the answer
	unfit   bool // it was cut before it began
}

// sit lends conn to the loop; ahead is what of it was read already. It reports
// whether there is anybody to be answered.
func (s *seat) sit(conn net.Conn, ahead []byte) bool {
	s.conn, s.stage = conn, held
	ev := loop.Readable
	if s.early = len(ahead) > 0; s.early {
		s.conn, ev = &front{Conn: conn, ahead: ahead}, 0
	}
	if s.unfit || s.loop.Lend(&s.socket, socketOf(conn), s, ev) != nil {
		s.end()
		return false
	}
	return true
}

// Ready is the loop's word that something can be done.
func (s *seat) Ready(*loop.Socket, loop.Events) {
	switch s.stage {
	case held, idle:
		s.look()
	case writing:
		s.push()
	case ending:
		if _, err := s.socket.Read(s.loop.Scratch()); err != nil && !errors.Is(err, loop.ErrWait) {
			s.end()
		}
	}
}

// look tells a client that left from one that asks for more.
func (s *seat) look() {
	_, err := s.socket.Peek(s.loop.Scratch()[:1])
	switch {
	case errors.Is(err, loop.ErrWait):
	case err != nil:
		s.end()
	case s.stage == idle:
		s.giveBack()
	default:
		s.early = true
		if s.socket.Watch(0) != nil {
			s.end()
		}
	}
}

// answer begins to write b, which is the answer or, but for last, a part of it behind
// which more follows. taken: it was awaited. out: no more of it is to be written, and
// ok says whether all of it was; else done is told. Once the last was taken, gone is
// not called any more.
func (s *seat) answer(b []byte, last bool, done func(bool)) (taken, out, ok bool) {
	s.loop.Do(func() {
		if s.stage != held {
			return
		}
		taken = true
		s.stage, s.last, s.rest = writing, last, b
		if last {
			s.gone = nil
		}
		if ok, out = s.push(); !out {
			s.done = done
			s.loop.SetTimer(&s.timer, time.Now().Add(s.timeout))
		}
	})
	return taken, out, ok
}

// push writes what is taken of the rest. out: no more of it is to be written, and
// ok says whether all of it was.
func (s *seat) push() (ok, out bool) {
	n, err := s.socket.Write(s.rest)
	if err != nil && !errors.Is(err, loop.ErrWait) {
		s.end()
		return false, true
	}
	if s.rest = s.rest[n:]; len(s.rest) == 0 {
		s.rest = nil
		s.report(true)
		s.settle()
		return true, true
	}
	if s.socket.Watch(loop.Writable) != nil {
		s.end()
		return false, true
	}
	if n > 0 {
		s.loop.SetTimer(&s.timer, time.Now().Add(s.timeout))
	}
	return false, false
}

// settle is what follows an answer, or a part of it.
func (s *seat) settle() {
	switch {
	case !s.last:
		s.await()
	case s.lot.isClosing():
		s.retire()
	case s.early:
		s.giveBack()
	case s.socket.Watch(loop.Readable) != nil:
		s.end()
	default:
		s.stage = idle
		s.loop.SetTimer(&s.timer, time.Now().Add(s.lot.idle()))
	}
}

// await waits for what follows in a stream.
func (s *seat) await() {
	s.stage = held
	s.loop.StopTimer(&s.timer)
	ev := loop.Readable
	if s.early {
		ev = 0
	}
	if s.socket.Watch(ev) != nil {
		s.end()
	}
}

// retire closes a connection that owes no answer: at once where it idles, and with
// a last word where it was just answered.
func (s *seat) retire() {
	switch {
	case s.stage == idle:
		s.end()
	case s.stage != writing || len(s.rest) > 0:
		// fresh and held are answered first, or cut
	case s.socket.CloseWrite() != nil || s.socket.Watch(loop.Readable) != nil:
		s.end()
	default:
		s.stage = ending
		s.loop.SetTimer(&s.timer, time.Now().Add(endTime))
	}
}

// cut ends the connection as it is, and reports whether an answer was owed.
func (s *seat) cut() (owed bool) {
	owed = s.stage <= writing
	if s.stage == fresh {
		s.unfit = true
		return owed
	}
	s.end()
	return owed
}

// Expire is the timer's word: whatever was waited for did not come.
func (s *seat) Expire() { s.end() }

// giveBack hands the connection over to be served anew.
func (s *seat) giveBack() {
	conn := s.conn
	s.vacate()
	s.lot.GiveBack(conn)
}

// end closes the connection, and tells whoever waits for something to come of it.
func (s *seat) end() {
	if s.stage == over {
		return
	}
	s.report(false)
	if s.gone != nil {
		s.lot.calls.Go(s.gone)
	}
	conn := s.conn
	s.vacate()
	_ = conn.Close() // nobody could act on what it says
}

// report tells, on a goroutine of its own, what became of an answer.
func (s *seat) report(ok bool) {
	if done := s.done; done != nil {
		s.done = nil
		s.lot.calls.Go(func() { done(ok) })
	}
}

// vacate takes the connection out of the lot, and keeps nothing of it.
func (s *seat) vacate() {
	s.loop.StopTimer(&s.timer)
	s.socket.Reclaim()
	s.stage, s.conn, s.gone, s.rest = over, nil, nil, nil
	s.lot.leave(s)
}
