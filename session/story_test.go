package session

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A stub is a backend that takes everything.
type stub struct {
	got    []string
	closes []Close
	rooms  atomic.Int32
	fails  error
}

func (b *stub) Write(m Message) error {
	if b.fails != nil {
		return b.fails
	}
	b.got = append(b.got, string(m.Data))
	return nil
}
func (b *stub) Close(c Close) { b.closes = append(b.closes, c) }
func (b *stub) Room()         { b.rooms.Add(1) }

func open(t *testing.T, all *Sessions, set Settings) (*Session, *stub) {
	t.Helper()
	b := &stub{}
	s, err := all.Open(Opening{Settings: &set, Backend: b})
	if err != nil {
		t.Fatal(err)
	}
	return s, b
}

func text(s string) Message { return Message{Data: []byte(s)} }

// take is what a reader has to say, as strings.
func take(t *testing.T, r *Reader) (all []string, end *Close) {
	t.Helper()
	b, err := r.Take(nil, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range b.Messages {
		all = append(all, string(m.Data))
	}
	return all, b.Close
}

func nothing() {}

// A client that loses its carrier gets what it missed, and then the backend's own
// close; what it sends twice is passed on once.
func TestClientComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all Sessions
		s, b := open(t, &all, Default())
		r, err := s.Attach(nothing)
		if err != nil {
			t.Fatal(err)
		}
		s.Deliver(text("one"))
		s.Deliver(text("two"))
		if got, _ := take(t, r); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("took %q; want one two", got)
		}
		r.Close()
		s.Deliver(text("three"))
		s.DeliverClose(Close{4000, "bye"})
		time.Sleep(30 * time.Second)
		r, err = s.Resume(1, nothing)
		if err != nil {
			t.Fatal(err)
		}
		got, end := take(t, r)
		if !slices.Equal(got, []string{"two", "three"}) || end == nil || *end != (Close{4000, "bye"}) {
			t.Errorf("took %q, %v; want two three and close 4000", got, end)
		}
		if err := s.Ack(4); err != nil || s.Ended() != Closed || all.Len() != 0 || all.Held() != 0 {
			t.Errorf("after the last ack: %v, ended %v, %d live, %d held; want closed and nothing", err, s.Ended(), all.Len(), all.Held())
		}
		if len(b.closes) != 0 {
			t.Errorf("a backend that had closed was told %v", b.closes)
		}
		if _, err := all.Find(s.ID(), Identity{}); !errors.Is(err, ErrUnknown) && err.Error() != "the session has ended: closed" {
			t.Errorf("found %v; want that it was closed", err)
		}
	})
}

func TestSendIsOnceAndInOrder(t *testing.T) {
	var all Sessions
	s, b := open(t, &all, Default())
	defer s.End(Left, Close{1001, ""})
	for _, c := range []struct {
		first    uint64
		send     []Message
		received uint64
		err      error
	}{
		{1, []Message{text("a"), text("b")}, 2, nil},
		{1, []Message{text("a"), text("b"), text("c")}, 3, nil},
		{5, []Message{text("e")}, 3, ErrGap},
		{4, []Message{text("d")}, 4, nil},
		{2, []Message{text("b")}, 4, nil},
		{0, []Message{text("e")}, 5, nil},
	} {
		got, err := s.Send(t.Context(), c.first, c.send...)
		if got != c.received || !errors.Is(err, c.err) {
			t.Errorf("Send from %d = %d, %v; want %d, %v", c.first, got, err, c.received, c.err)
		}
	}
	if want := []string{"a", "b", "c", "d", "e"}; !slices.Equal(b.got, want) {
		t.Errorf("backend got %q; want %q", b.got, want)
	}
}

func TestAwayForTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all Sessions
		s, b := open(t, &all, Default())
		start := time.Now()
		time.Sleep(time.Minute - 1)
		if s.Ended() != 0 {
			t.Fatal("ended before its time")
		}
		time.Sleep(1)
		synctest.Wait()
		if s.Ended() != Expired || time.Since(start) != time.Minute || len(b.closes) != 1 || b.closes[0].Code != 1001 {
			t.Errorf("ended %v, closes %v; want expired and 1001", s.Ended(), b.closes)
		}
		var gone *Gone
		if _, err := all.Find(s.ID(), Identity{}); !errors.As(err, &gone) || gone.Reason != Expired {
			t.Errorf("Find = %v; want expired", err)
		}
		if _, err := all.Find(s.ID(), Identity{1}); !errors.Is(err, ErrUnknown) {
			t.Errorf("Find by another = %v; want unknown", err)
		}
	})
}
