package polling

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

func parked(w way) bool { return w.parks() }

// parkedPoll is one whose connection is in the lot.
func (r *rig) parkedPoll() (*raw, *Poll) {
	r.t.Helper()
	c := r.dial()
	n := 1 + r.count(held)
	c.get("/poll")
	p := r.poll()
	r.settled(held, n)
	return c, p
}

func (r *rig) count(at stage) (n int) {
	r.desk.Lot.each(func(s *seat) {
		if s.stage == at {
			n++
		}
	})
	return n
}

func TestAnIdleConnectionIsClosedInTime(t *testing.T) {
	inEveryWay(t, parked, func(t *testing.T, r *rig) {
		r.desk.Lot.Idle = 300 * time.Millisecond
		c, p := r.parkedPoll()
		p.Answer(text("x"), nil)
		c.answer()
		begun := time.Now()
		c.ended()
		if d := time.Since(begun); d < 250*time.Millisecond || d > 3*time.Second {
			t.Errorf("closed after %v; want 300ms", d)
		}
		within(t, "leaving the lot", func() bool { return r.desk.Lot.Len() == 0 })
	})
}

// An idle connection that its client closes is forgotten without a word to net/http.
func TestAnIdleConnectionThatLeaves(t *testing.T) {
	inEveryWay(t, parked, func(t *testing.T, r *rig) {
		c, p := r.parkedPoll()
		p.Answer(text("x"), nil)
		c.answer()
		r.settled(idle, 1)
		c.Close()
		within(t, "leaving the lot", func() bool { return r.desk.Lot.Len() == 0 })
		if n := r.gone.Load(); n != 0 {
			t.Errorf("%d are gone, though all were answered", n)
		}
	})
}

// What a client sent ahead lies there until the answer; a loop that went on looking
// would do nothing else.
func TestWhatCameAheadIsNotWatched(t *testing.T) {
	inEveryWay(t, parked, func(t *testing.T, r *rig) {
		c, p := r.parkedPoll()
		c.get("/now")
		within(t, "watching no more", func() (ok bool) {
			r.desk.Lot.each(func(s *seat) { ok = s.stage == held && s.early && s.socket.Watched() == 0 })
			return ok
		})
		p.Answer(text("x"), nil)
		for _, want := range []string{"x", "now"} {
			if a := c.answer(); a.body != want {
				t.Errorf("got %q; want %q", a.body, want)
			}
		}
	})
}

// Nothing is left of a parked poll but its descriptor: no goroutine here.
func TestAParkedPollHasNoGoroutine(t *testing.T) {
	const polls = 200
	inEveryWay(t, parked, func(t *testing.T, r *rig) {
		before := runtime.NumGoroutine()
		files := descriptors(t)
		var all []*raw
		var held []*Poll
		for range polls {
			c, p := r.parkedPoll()
			all, held = append(all, c), append(held, p)
		}
		within(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before+2 })
		if n := descriptors(t) - files; n > 2*polls+2 {
			t.Errorf("%d descriptors for %d clients and their servers", n, polls)
		}
		for i, p := range held {
			o := newOnce()
			p.Answer(text(fmt.Sprint(i)), o.done)
			if a := all[i].answer(); a.body != fmt.Sprint(i) {
				t.Fatalf("%d got %q", i, a.body)
			}
			o.want(t, true)
			all[i].Close()
		}
		within(t, "leaving the lot", func() bool { return r.desk.Lot.Len() == 0 })
		within(t, "descriptors to be closed", func() bool { return descriptors(t) <= files+2 })
		within(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before+2 })
	})
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestAShutLotAnswersOnce(t *testing.T) {
	inEveryWay(t, parked, func(t *testing.T, r *rig) {
		idler, p := r.parkedPoll()
		p.Answer(text("x"), nil)
		idler.answer()
		r.settled(idle, 1)
		waiter, p := r.parkedPoll()
		r.desk.Lot.Shut()
		p.Answer(text("bye"), nil)
		if a := waiter.answer(); a.body != "bye" || !a.Close {
			t.Errorf("got %q, close %v; want bye and the end", a.body, a.Close)
		}
		waiter.ended()
		waiter.Close()
		r.settled(idle, 1) // who idles is Close's
	})
}

func TestClosingALot(t *testing.T) {
	inEveryWay(t, parked, func(t *testing.T, r *rig) {
		r.desk.WriteTimeout = patience
		idler, p := r.parkedPoll()
		p.Answer(text("x"), nil)
		idler.answer()
		r.settled(idle, 1)
		slow, p := r.parkedPoll()
		slow.narrow()
		half := newOnce()
		p.Answer(text(large), half.done)
		r.settled(writing, 1)
		waiter, p := r.parkedPoll()

		closed := make(chan int)
		go func() { closed <- r.desk.Lot.Close(context.Background()) }()
		idler.ended()
		if n := r.gone.Load(); n != 0 {
			t.Fatalf("%d are gone", n)
		}
		o := newOnce()
		p.Answer(text("bye"), o.done)
		o.want(t, true)
		if a := waiter.answer(); a.body != "bye" || !a.Close {
			t.Errorf("got %q, close %v; want bye and the end", a.body, a.Close)
		}
		waiter.ended()
		waiter.Close()
		select {
		case <-closed:
			t.Error("closed while an answer is half out")
		default:
		}
		if a := slow.answer(); a.body != large {
			t.Errorf("%d bytes; want all", len(a.body))
		}
		half.want(t, true)
		slow.ended()
		slow.Close()
		if n := <-closed; n != 0 {
			t.Errorf("%d were cut", n)
		}
		late := r.get("/poll")
		r.poll().Answer(text("plain"), nil)
		if a := await(t, late); a.body != "plain" || r.desk.Lot.Len() != 0 {
			t.Errorf("then got %q, %d in the lot", a.body, r.desk.Lot.Len())
		}
	})
}

// A client that does not close is closed, and one that sends on gets its answer.
func TestTheLastAnswerIsTaken(t *testing.T) {
	inEveryWay(t, parked, func(t *testing.T, r *rig) {
		t.Parallel()
		c, p := r.parkedPoll()
		closed := make(chan int)
		go func() { closed <- r.desk.Lot.Close(context.Background()) }()
		within(t, "closing", r.desk.Lot.isClosing)
		c.get("/now")
		p.Answer(text("bye"), nil)
		begun := time.Now()
		c.get("/now")
		<-closed
		if d := time.Since(begun); d > endTime+2*time.Second {
			t.Errorf("closed after %v; want %v", d, endTime)
		}
		if a := c.answer(); a.body != "bye" || !a.Close {
			t.Errorf("got %q, close %v", a.body, a.Close)
		}
		c.ended()
	})
}

func TestClosingALotCutsInTheEnd(t *testing.T) {
	inEveryWay(t, parked, func(t *testing.T, r *rig) {
		r.desk.WriteTimeout = patience
		slow, p := r.parkedPoll()
		slow.narrow()
		half := newOnce()
		p.Answer(text(large), half.done)
		r.settled(writing, 1)
		waiter, p := r.parkedPoll()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if n := r.desk.Lot.Close(ctx); n != 2 {
			t.Errorf("%d were cut; want 2", n)
		}
		half.want(t, false)
		if n := r.gone.Load(); n != 1 {
			t.Errorf("%d are gone by then; want 1", n)
		}
		if p.Answer(text("late"), nil) {
			t.Error("one that was cut was answered")
		}
		waiter.ended()
		if n, _ := io.Copy(io.Discard, slow); n >= int64(len(large)) {
			t.Error("the slow client got all")
		}
		if n := r.desk.Lot.Close(ctx); n != 0 {
			t.Errorf("closed again, %d were cut", n)
		}
	})
}

// One that was answered while it was being parked is not gone, even if its client
// has left in between.
func TestAnsweredJustBeforeParking(t *testing.T) {
	rounds := 500
	if testing.Short() {
		rounds = 100
	}
	r := newRig(t, way{after: -1})
	for range rounds {
		o, parked := newOnce(), make(chan bool, 1)
		r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			p, err := r.desk.Hold(w, q, func() { r.gone.Add(1) })
			if err != nil {
				t.Error(err)
			}
			p.Answer(text("x"), o.done)
			<-q.Context().Done()
			parked <- p.park()
		})
		c := r.dial()
		c.get("/poll")
		c.Close()
		if !<-parked {
			t.Fatal("it was not parked")
		}
		<-o.at
	}
	within(t, "leaving the lot", func() bool { return r.desk.Lot.Len() == 0 })
	if n := r.gone.Load(); n != 0 {
		t.Errorf("%d are gone, though all were answered", n)
	}
}

// Answers and departures come at any time from before a poll is parked to after.
func TestParkingRacesAll(t *testing.T) {
	clients, rounds := 100, 20
	if testing.Short() {
		rounds = 4
	}
	r := newRig(t, way{after: 5 * time.Millisecond})
	var all sync.WaitGroup
	for n := range clients {
		c := r.dial()
		c.SetDeadline(time.Now().Add(6 * patience))
		leaves := n%10 == 0
		all.Go(func() {
			for i := range rounds {
				c.send("GET /poll/%d/%d HTTP/1.1\r\nHost: a\r\n\r\n", n, i)
				if leaves && i == rounds-1 {
					<-time.After(time.Duration(n/4) * time.Millisecond)
					c.Close()
					return
				}
				if a := c.answer(); a.Header.Get("X-Path") != fmt.Sprintf("/poll/%d/%d", n, i) || a.body != "x" {
					t.Errorf("%d got %q to %s", n, a.body, a.Header.Get("X-Path"))
					return
				}
			}
		})
	}
	for i := range clients * rounds {
		p := r.poll()
		all.Go(func() {
			<-time.After(time.Duration(i%30) * time.Millisecond)
			o := newOnce()
			if p.Answer(text("x"), o.done) {
				<-o.at
			}
		})
	}
	all.Wait()
	if n := int(r.gone.Load()); n > clients/10 {
		t.Errorf("%d are gone; only %d left", n, clients/10)
	}
}

// The lot may close while polls come in, are parked, answered and leave.
func TestClosingRacesAll(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 15
	}
	inEveryWay(t, parked, func(t *testing.T, r *rig) {
		loops, back := r.desk.Lot.Loops, r.desk.Lot.GiveBack
		for round := range rounds {
			lot := &Lot{Loops: loops, GiveBack: back, After: r.way.after}
			r.desk = &Desk{Guard: r.desk.Guard, Lot: lot}
			const clients = 8
			for range clients {
				c := r.dial()
				go func() { io.Copy(io.Discard, c) }()
				c.get("/poll")
			}
			answered := make(chan int)
			go func() {
				n := 0
				for range clients {
					p, o := r.poll(), newOnce()
					if p.Answer(text("x"), o.done) {
						<-o.at
						n++
					}
				}
				answered <- n
			}()
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(round%5)*time.Millisecond)
			before := r.gone.Load()
			lot.Close(ctx)
			cancel()
			n := <-answered
			within(t, "each to be answered or gone", func() bool { return n+int(r.gone.Load()-before) == clients })
			if lot.Len() != 0 {
				t.Fatalf("%d are left", lot.Len())
			}
		}
	})
}
