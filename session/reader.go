package session

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrBusy is what Attach returns while a reader is attached.
	ErrBusy = errors.New("another carrier is attached")
	// ErrReplaced is what a reader's Take returns once another has its place.
	ErrReplaced = errors.New("a newer carrier has taken over")
	// ErrForgotten is what Resume returns for messages that were acknowledged.
	ErrForgotten = errors.New("the messages to resume from are no longer held")
)

// A Reader is one carrier's place in what goes to the client. There is one of a
// session's at a time.
type Reader struct {
	session *Session
	last    uint64 // the number of the last message taken
	wake    func()
	woken   bool // and has not taken since
}

// Attach gives a carrier the session's reader, before the oldest message that is
// not acknowledged. It fails with ErrBusy while there is another.
//
// wake is called when Take has something new to say, once until Take is called
// again. It is called without locks, from any goroutine, maybe before Attach has
// returned, and must not wait; being late, it may find nothing, or a reader that
// was closed. It is not called for what is there already: Take first.
func (s *Session) Attach(wake func()) (*Reader, error) {
	s.mu.Lock()
	switch {
	case s.reason != 0:
		s.mu.Unlock()
		return nil, ErrEnded
	case s.reader != nil:
		s.mu.Unlock()
		return nil, ErrBusy
	}
	r, away := s.attach(wake)
	s.mu.Unlock()
	s.observer.Attached(away)
	return r, nil
}

// Resume gives a carrier the session's reader, behind the message of the number
// last, which it acknowledges with all before it. A carrier that is attached loses
// its place: it may be dead without knowing. It fails with ErrForgotten if the
// client has acknowledged more than last: it must have lost what it knew. wake is
// as for Attach.
func (s *Session) Resume(last uint64, wake func()) (*Reader, error) {
	s.mu.Lock()
	if s.reason == 0 && last < s.log.base {
		defer s.mu.Unlock()
		return nil, fmt.Errorf("resuming behind message %d of %d: %w", last, s.log.base, ErrForgotten)
	}
	return s.replace(last, wake)
}

// Replace is Resume behind what is acknowledged, for a client that attaches a
// second carrier while the first still works: its acknowledgements by the first
// may overtake the number that it began the second with, so only the client can
// compare Acknowledged with what it has.
func (s *Session) Replace(wake func()) (*Reader, error) {
	s.mu.Lock()
	return s.replace(s.log.base, wake)
}

// Acknowledged is the number of the last of the backend's messages that the client
// has acknowledged; the next is the first that it can have again.
func (s *Session) Acknowledged() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.base
}

// replace is called under the lock, and frees it.
func (s *Session) replace(last uint64, wake func()) (*Reader, error) {
	a, err := s.ack(last)
	if err == nil && s.reason != 0 { // it was the close that is acknowledged
		err = ErrEnded
	}
	if err != nil {
		s.mu.Unlock()
		s.do(a)
		return nil, err
	}
	a.wake = s.rouse() // the one before
	r, away := s.attach(wake)
	s.mu.Unlock()
	s.observer.Attached(away)
	s.do(a)
	return r, nil
}

func (s *Session) attach(wake func()) (r *Reader, away time.Duration) {
	away = s.come()
	s.heed()
	s.reader = &Reader{session: s, last: s.log.base, wake: wake}
	return s.reader, away
}

// rouse is wake, if it is to be called.
func (r *Reader) rouse() func() {
	if r.woken {
		return nil
	}
	r.woken = true
	return r.wake
}

// A Batch is a run of messages for the client.
type Batch struct {
	First    uint64 // the number of the first
	Messages []Message
	// Close is the backend's close, which comes behind Messages and has the next
	// number. Nil: not yet.
	Close *Close
}

// Last is the number of the last in b, the close included; First - 1 if it is empty.
func (b Batch) Last() uint64 {
	last := b.First + uint64(len(b.Messages)) - 1
	if b.Close != nil {
		last++
	}
	return last
}

// Take returns what has come since the last Take, in buf's place: at least one
// message if there is any, then as many as stay within most bytes (each counts 64
// more). It does not wait: take until the batch is empty, then wait for wake. The
// messages are kept until they are acknowledged. Once the session has ended it
// returns ErrEnded, and ErrReplaced once another reader has its place. After Close
// it returns ErrReplaced as well.
func (r *Reader) Take(buf []Message, most int64) (Batch, error) {
	s := r.session
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.reason != 0:
		return Batch{}, ErrEnded
	case s.reader != r:
		return Batch{}, ErrReplaced
	}
	r.woken = false
	r.last = max(r.last, s.log.base) // an ack by another carrier can be ahead of this one
	b := Batch{First: r.last + 1}
	if r.last < s.log.last() {
		b.Messages = s.log.after(buf[:0], r.last, most)
	}
	if s.close != nil && b.Last() == s.log.last() {
		b.Close = s.close
	}
	r.last = max(r.last, b.Last())
	s.sent = max(s.sent, r.last)
	return b, nil
}

// Close gives the place up: the client is away, and has TTL to come back. It may
// be called again, and after another has taken over.
func (r *Reader) Close() {
	s := r.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader == r {
		s.reader = nil
		s.leave()
	}
}
