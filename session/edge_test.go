package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var bye = Close{goingAway, "bye"}

// An old carrier's ack comes when a new one has resumed from further back.
func TestAckAheadOfTheReader(t *testing.T) {
	var all Sessions
	s, _ := open(t, &all, Default())
	defer s.End(Left, bye)
	r, _ := s.Attach(nothing)
	for _, m := range []string{"a", "b", "c"} {
		s.Deliver(text(m))
	}
	take(t, r)
	r, err := s.Resume(1, nothing)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Ack(3); err != nil {
		t.Fatal(err)
	}
	s.Deliver(text("d"))
	s.DeliverClose(Close{4000, ""})
	if got, end := take(t, r); !slices.Equal(got, []string{"d"}) || end == nil {
		t.Errorf("took %q and %v; want d and the close", got, end)
	}
	if err := s.Ack(5); err != nil || s.Ended() != Closed {
		t.Errorf("acknowledging the close: %v, %v; want closed", err, s.Ended())
	}
}

func TestFullWindow(t *testing.T) {
	big := Message{Data: make([]byte, 10_000)}
	small := Settings{TTL: time.Minute, Window: minWindow, Overflow: "pause"}
	t.Run("pause", func(t *testing.T) {
		var all Sessions
		s, b := open(t, &all, small)
		r, _ := s.Attach(nothing)
		if s.Deliver(big) {
			t.Error("there is room behind a message of more than the window")
		}
		take(t, r)
		if s.Ack(1); b.rooms.Load() != 1 {
			t.Errorf("Room was called %d times after the ack; want 1", b.rooms.Load())
		}
		s.Deliver(big)
		if s.End(Left, bye); b.rooms.Load() != 2 || len(b.closes) != 1 {
			t.Errorf("Room was called %d times, Close %d, at the end; want 2, 1", b.rooms.Load(), len(b.closes))
		}
		if !s.Deliver(big) || all.Held() != 0 {
			t.Errorf("after the end %d bytes are held; want the backend read on and nothing kept", all.Held())
		}
	})
	t.Run("close", func(t *testing.T) {
		set := small
		set.Overflow = "close"
		var all Sessions
		s, b := open(t, &all, set)
		if !s.Deliver(big) || s.Ended() != 0 {
			t.Errorf("one large message: ended %v; want it kept, and room", s.Ended())
		}
		if s.Deliver(text("x")); s.Ended() != Overflowed || !slices.Equal(b.closes, []Close{{tryAgainLater, "the client is too slow"}}) {
			t.Errorf("one more: ended %v, closes %v; want overflow and 1013", s.Ended(), b.closes)
		}
	})
	t.Run("all sessions together", func(t *testing.T) {
		set := small
		set.Overflow = "close"
		all := Sessions{Memory: 2*perSession + 5000}
		other, _ := open(t, &all, set)
		s, b := open(t, &all, set)
		r, _ := s.Attach(nothing)
		other.Deliver(big)
		if s.Deliver(text("x")) || s.Ended() != 0 {
			t.Errorf("ended %v where others hold too much; want it paused", s.Ended())
		}
		take(t, r)
		if s.Ack(1); b.rooms.Load() != 1 {
			t.Error("no room though all is acknowledged")
		}
		if !all.Full() {
			t.Error("there is room for a session before Open, and none in it")
		}
		if _, err := all.Open(Opening{Settings: &set, Backend: b}); !errors.Is(err, ErrFull) {
			t.Errorf("Open = %v; want %v", err, ErrFull)
		}
		all.EvictAway = true
		if all.Full() {
			t.Error("there is no room, though one that is away could be evicted")
		}
		if _, err := all.Open(Opening{Settings: &set, Backend: b}); err != nil || other.Ended() != Evicted || s.Ended() != 0 {
			t.Errorf("Open = %v, the absent one ended %v, the present one %v; want evicted and not", err, other.Ended(), s.Ended())
		}
		for _, s := range all.All() {
			s.Attach(nothing)
		}
		all.Memory = 1
		if !all.Full() {
			t.Error("there is room at the bound, though nobody is away")
		}
	})
}

// What keeps a session alive is to hear of its client, not to have heard once.
func TestHeard(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, s *Session)
		want time.Duration
	}{
		{"away, then nothing", func(*testing.T, *Session) {}, 60 * time.Second},
		{"away, sends", func(t *testing.T, s *Session) {
			time.Sleep(40 * time.Second)
			s.Send(t.Context(), 0, text("x"))
		}, 100 * time.Second},
		{"comes and goes", func(t *testing.T, s *Session) {
			time.Sleep(59 * time.Second)
			r, _ := s.Attach(nothing)
			time.Sleep(90 * time.Second)
			r.Close()
		}, 209 * time.Second},
		{"the backend closes meanwhile", func(t *testing.T, s *Session) {
			time.Sleep(40 * time.Second)
			s.DeliverClose(bye)
		}, 60 * time.Second},
		{"the backend closes while it is there", func(t *testing.T, s *Session) {
			s.Attach(nothing)
			time.Sleep(70 * time.Second)
			s.DeliverClose(bye)
		}, 130 * time.Second},
		{"it acknowledges some of the tail", func(t *testing.T, s *Session) {
			r, _ := s.Attach(nothing)
			s.Deliver(text("x"))
			s.DeliverClose(bye)
			take(t, r)
			time.Sleep(50 * time.Second)
			s.Ack(1)
		}, 110 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, ended := time.Now(), make(chan Reason, 1)
				var all Sessions
				set := Default()
				s, err := all.Open(Opening{Settings: &set, Backend: &stub{}, Ended: func(why Reason) { ended <- why }})
				if err != nil {
					t.Fatal(err)
				}
				c.do(t, s)
				if why := <-ended; why != Expired || time.Since(start) != c.want {
					t.Errorf("ended %v after %v; want expired after %v", why, time.Since(start), c.want)
				}
			})
		})
	}
}

// A wall is a backend that takes a message when it is let, or fails when closed.
type wall struct {
	stub
	let    chan struct{}
	closed chan struct{}
}

func (b *wall) Write(m Message) error {
	select {
	case <-b.let:
		return b.stub.Write(m)
	case <-b.closed:
		return errors.New("closed")
	}
}

func (b *wall) Close(c Close) { close(b.closed) }

// While the backend is slow, calls wait in their order, up to a bound and as long
// as their context lets them; the end lets all go.
func TestSlowBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &wall{let: make(chan struct{}), closed: make(chan struct{})}
		var all Sessions
		set := Default()
		s, _ := all.Open(Opening{Settings: &set, Backend: b})
		s.Attach(nothing)
		results := make(chan error, 20)
		send := func(ctx context.Context, n uint64) {
			go func() {
				_, err := s.Send(ctx, n, text(string(rune('a'-1+n))))
				results <- err
			}()
			synctest.Wait()
		}
		for n := range uint64(1 + maxSenders) {
			send(t.Context(), n+1)
		}
		if got, err := s.Send(t.Context(), 10, text("j")); got != 0 || !errors.Is(err, ErrCrowd) {
			t.Errorf("one too many: %d, %v; want 0, %v", got, err, ErrCrowd)
		}
		for range 4 {
			b.let <- struct{}{}
			if err := <-results; err != nil {
				t.Errorf("waiting in order: %v", err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		send(ctx, 10)
		if err := <-results; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("past its deadline: %v", err)
		}
		s.End(Drained, bye)
		for range 5 {
			if err := <-results; !errors.Is(err, ErrEnded) {
				t.Errorf("after the end: %v; want %v", err, ErrEnded)
			}
		}
		if got := strings.Join(b.got, ""); got != "abcd" || s.Received() != 4 {
			t.Errorf("the backend has %q, received %d; want abcd and 4", got, s.Received())
		}
	})
}

// A message whose write failed has an unknown fate: nothing follows it, and what
// the backend had to say is still told.
func TestFailedWrite(t *testing.T) {
	var all Sessions
	s, b := open(t, &all, Default())
	r, _ := s.Attach(nothing)
	b.fails = errors.New("reset")
	if got, err := s.Send(t.Context(), 1, text("a")); got != 0 || !errors.Is(err, b.fails) || !errors.Is(err, ErrClosing) {
		t.Errorf("Send = %d, %v; want 0 and both causes", got, err)
	}
	b.fails = nil
	if got, err := s.Send(t.Context(), 2, text("b")); got != 0 || !errors.Is(err, ErrGap) {
		t.Errorf("Send = %d, %v; want 0, %v", got, err, ErrGap)
	}
	if got, err := s.SendClose(t.Context(), 1, bye); got != 0 || !errors.Is(err, ErrClosing) || len(b.closes) != 0 {
		t.Errorf("SendClose = %d, %v; want 0, %v", got, err, ErrClosing)
	}
	s.Deliver(text("last words"))
	s.DeliverClose(Close{1006, ""})
	if got, end := take(t, r); !slices.Equal(got, []string{"last words"}) || end == nil {
		t.Errorf("took %q, %v; want the last words and the close", got, end)
	}
	s.Ack(2)
}

// The closes of both ends are no messages, and are not counted as such.
func TestTallyWithoutCloses(t *testing.T) {
	var all Sessions
	s, _ := open(t, &all, Default())
	r, _ := s.Attach(nothing)
	s.Send(t.Context(), 1, text("a"), text("b"))
	s.Deliver(text("c"))
	if got, err := s.SendClose(t.Context(), 3, bye); got != 3 || err != nil {
		t.Fatalf("SendClose = %d, %v; want 3", got, err)
	}
	s.DeliverClose(bye)
	if got, end := take(t, r); len(got) != 1 || end == nil {
		t.Fatalf("took %q, %v; want one message and the close", got, end)
	}
	s.Ack(2)
	if up, down := s.Tally(); up != 2 || down != 1 || s.Ended() != Closed {
		t.Errorf("counted %d up and %d down, ended %v; want 2, 1 and closed", up, down, s.Ended())
	}
}

// Open evicts the one that was away for longest, if it is still away by then.
func TestEvictedUnlessItCameBack(t *testing.T) {
	var all Sessions
	s, _ := open(t, &all, Default())
	s.Attach(nothing)
	if s.evict(); s.Ended() != 0 {
		t.Errorf("one that is there ended %v", s.Ended())
	}
	s.End(Left, bye)
}

// Ids that clients choose are each identity's own, and can be used again.
func TestChosenIDs(t *testing.T) {
	var all Sessions
	set := Default()
	begin := func(who Identity) (*Session, error) {
		return all.Open(Opening{ID: "1/abc", Identity: who, Settings: &set, Backend: &stub{}})
	}
	mine, err := begin(Identity{1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := begin(Identity{1}); !errors.Is(err, ErrTaken) {
		t.Errorf("opening it again: %v; want %v", err, ErrTaken)
	}
	other, err := begin(Identity{2})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := all.Find("1/abc", Identity{1}); s != mine || err != nil {
		t.Errorf("found %v, %v; want mine", s, err)
	}
	if all.Len() != 2 || len(all.All()) != 2 {
		t.Errorf("%d and %d live; want 2", all.Len(), len(all.All()))
	}
	mine.End(Left, bye)
	mine.End(Drained, bye)
	if s, err := begin(Identity{1}); err != nil || s == mine {
		t.Errorf("opening it after its end: %v", err)
	}
	other.End(Left, bye)
}
