package session

import (
	"context"
	"errors"
	"fmt"
)

var (
	// ErrGap is what Send returns for messages that lie beyond one that has not
	// come yet. They were dropped, and are to be sent again from the number after
	// the one returned: POSTs overtake each other.
	ErrGap = errors.New("messages before these have not come yet")
	// ErrEnded is what everything returns once the session has ended; Ended says why.
	ErrEnded = errors.New("the session has ended")
	// ErrCrowd is what Send returns when maxSenders wait already.
	ErrCrowd = errors.New("too many wait for the backend to take a message")
	// ErrClosing is what Send returns behind a close, the client's or the backend's.
	// Messages with the numbers returned or lower were passed on.
	ErrClosing = errors.New("the conversation is being closed")
)

// maxSenders is how many calls of Send may wait for another: each holds messages
// in memory. One carrier sends one after the other.
const maxSenders = 8

// Send passes messages of the client on to the backend, in order and each once.
// first is the number of the first; 0 means that what they came by is ordered and
// loses nothing, so that they are the next. Messages that were passed on before
// are skipped.
//
// It returns the number of the last message that the backend's socket has: what
// may be acknowledged, also beside an error. It waits while the backend is slow,
// which is how the client gets to feel it. ctx bounds only the wait for calls that
// came before; a message that is being written is written, whatever becomes of the
// carrier. The messages may be overwritten once it returns.
func (s *Session) Send(ctx context.Context, first uint64, messages ...Message) (received uint64, err error) {
	if err := s.enter(ctx); err != nil {
		return s.Received(), err
	}
	defer s.exit()
	skip, err := s.place(first, len(messages))
	if err != nil {
		return s.Received(), err
	}
	if skip > 0 {
		s.observer.Skipped(skip)
	}
	for _, m := range messages[skip:] {
		if err := s.pass(m); err != nil {
			return s.Received(), err
		}
	}
	return s.Received(), nil
}

// SendClose passes the client's close on, which has the number behind the client's
// last message; 0: the next. The backend's answer, behind what it still had to
// say, comes by the Reader.
func (s *Session) SendClose(ctx context.Context, number uint64, c Close) (received uint64, err error) {
	if err := s.enter(ctx); err != nil {
		return s.Received(), err
	}
	defer s.exit()
	if skip, err := s.place(number, 1); err != nil || skip > 0 {
		return s.Received(), err
	}
	s.mu.Lock()
	err = s.open()
	if err == nil {
		s.closing, s.parted = true, true
		s.received++
	}
	s.mu.Unlock()
	if err == nil {
		s.backend.Close(c)
	}
	return s.Received(), err
}

// Received is the number of the client's last message that the backend's socket has.
func (s *Session) Received() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received
}

// enter waits until it is this call's turn to send: in the order of the calls, so
// that a message does not overtake the one before it here.
func (s *Session) enter(ctx context.Context) error {
	s.mu.Lock()
	s.heed()
	if s.reason != 0 {
		s.mu.Unlock()
		return ErrEnded
	}
	if s.turn == nil {
		s.turn = make(chan struct{}, 1)
	}
	select {
	case s.turn <- struct{}{}:
		s.mu.Unlock()
		return nil
	default:
	}
	if s.waiting == maxSenders {
		s.mu.Unlock()
		return ErrCrowd
	}
	s.waiting++
	s.mu.Unlock()
	return s.await(ctx)
}

// await waits for those who came before. They do not take long once the session
// has ended: Backend.Write returns after Close.
func (s *Session) await(ctx context.Context) error {
	defer func() {
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
	}()
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting to send: %w", context.Cause(ctx))
	}
}

func (s *Session) exit() { <-s.turn }

// place finds how many of n messages from the number first on were passed on before.
func (s *Session) place(first uint64, n int) (skip int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first == 0 {
		first = s.received + 1
	}
	switch {
	case s.reason != 0:
		return 0, ErrEnded
	case first > s.received+1:
		return 0, fmt.Errorf("sending message %d after %d: %w", first, s.received, ErrGap)
	}
	return int(min(s.received+1-first, uint64(n))), nil
}

// open reports why nothing can be passed on, if so. It is called under the lock.
func (s *Session) open() error {
	switch {
	case s.reason != 0:
		return ErrEnded
	case s.closing || s.close != nil:
		return ErrClosing
	}
	return nil
}

// pass writes one message. Only then is it received. After a write that failed
// its fate is unknown: nothing may follow it, and the backend's reader finds out
// how it ended, and calls DeliverClose.
func (s *Session) pass(m Message) error {
	s.mu.Lock()
	err := s.open()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	failed := s.backend.Write(m)
	s.mu.Lock()
	if failed == nil {
		s.received++
	} else {
		s.closing = true
		err = s.open()
	}
	s.mu.Unlock()
	if failed != nil {
		return fmt.Errorf("writing to the backend: %w: %w", failed, err)
	}
	s.observer.Passed(true, len(m.Data))
	return nil
}
