package session

import (
	"errors"
	"fmt"
)

// Deliver adds a message of the backend to what goes to the client, and reports
// whether there is room for another. If not, the backend is not to be read until
// Backend.Room is called, so that it gets to feel a slow client: memory is bounded
// by the window and the one message that filled it. With Overflow "close" there is
// always room, and a message that finds the window full ends the session instead.
// What comes behind the backend's close or after the end is dropped.
//
// It must be called by one goroutine at a time.
func (s *Session) Deliver(m Message) (room bool) {
	s.mu.Lock()
	var a aftermath
	taken := s.reason == 0 && s.close == nil
	if taken {
		a = s.append(m)
	}
	room = !s.paused
	s.mu.Unlock()
	s.do(a)
	if taken {
		s.observer.Passed(false, len(m.Data))
	}
	return room
}

func (s *Session) append(m Message) aftermath {
	closes := s.settings.Overflow == "close"
	if closes && s.log.size >= s.settings.Window {
		return s.end(Overflowed, s.hangUp(Close{tryAgainLater, "the client is too slow"}))
	}
	s.log.push(m)
	s.sessions.held.Add(m.size())
	a := aftermath{wake: s.rouse()}
	if !s.paused && !s.hasRoom() {
		s.paused, a.paused = true, true
	}
	return a
}

// hasRoom reports whether the backend may be read. Where all sessions together hold
// as much as they may, each holds one message at a time.
func (s *Session) hasRoom() bool {
	switch {
	case s.log.len() == 0:
		return true
	case s.sessions.full():
		return false
	}
	return s.log.size < s.settings.Window || s.settings.Overflow == "close"
}

// DeliverClose adds the backend's close behind its last message: the client gets
// all that when it comes back. The session ends when the client has acknowledged
// it, or was not heard of for TTL, attached or not. c is what a client of the
// backend's would have heard; where no close frame came that is for the caller to
// say.
func (s *Session) DeliverClose(c Close) {
	s.mu.Lock()
	var a aftermath
	if s.reason == 0 && s.close == nil {
		s.close = &c
		if s.left.IsZero() { // an absence does not last longer for it
			s.heed()
		}
		a.wake = s.rouse()
	}
	s.mu.Unlock()
	s.do(a)
}

// Ack says that the client has the backend's messages up to the number last, which
// are then forgotten. With the number of the close, the session has ended. A
// number that was not sent yet is an error, and the client's carrier a broken one.
func (s *Session) Ack(last uint64) error {
	s.mu.Lock()
	a, err := s.ack(last)
	s.mu.Unlock()
	s.do(a)
	return err
}

// ErrNotSent is what Ack and Resume return for a number that was never sent.
var ErrNotSent = errors.New("no message of that number was sent")

func (s *Session) ack(last uint64) (aftermath, error) {
	if s.reason != 0 {
		return aftermath{}, ErrEnded
	}
	s.heed()
	if last > s.sent {
		return aftermath{}, fmt.Errorf("acknowledging message %d after %d: %w", last, s.sent, ErrNotSent)
	}
	if last > s.log.base {
		s.sessions.held.Add(-s.log.drop(last))
	}
	if s.close != nil && last > s.log.last() {
		return s.end(Closed, nil), nil
	}
	if s.paused && s.hasRoom() {
		s.paused = false
		return aftermath{room: true}, nil
	}
	return aftermath{}, nil
}

// rouse is what wakes the reader, if there is one that has not been woken.
func (s *Session) rouse() func() {
	if s.reader == nil {
		return nil
	}
	return s.reader.rouse()
}
