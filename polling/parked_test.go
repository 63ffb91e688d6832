package polling

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"
)

func TestAParkedStreamHasNoGoroutine(t *testing.T) {
	const streams = 100
	inEveryWay(t, parked, func(t *testing.T, r *rig) {
		before, files := runtime.NumGoroutine(), descriptors(t)
		var all []*raw
		var feeds []*feed
		for i := range streams {
			c := r.dial()
			c.get("/stream")
			all, feeds = append(all, c), append(feeds, r.feed())
			r.settled(held, i+1)
		}
		within(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before+2 })
		for i, f := range feeds {
			f.say(fmt.Sprint(i), true)
			if a := all[i].answer(); a.body != fmt.Sprint("head ", i) {
				t.Fatalf("%d got %q", i, a.body)
			}
			all[i].Close()
			f.leaves(t)
		}
		within(t, "leaving the lot", func() bool { return r.desk.Lot.Len() == 0 })
		within(t, "descriptors to be closed", func() bool { return descriptors(t) <= files+2 })
	})
}

// A lot that closes waits for its streams, which somebody ends.
func TestClosingALotWithStreams(t *testing.T) {
	inEveryWay(t, parked, func(t *testing.T, r *rig) {
		c := r.dial()
		c.get("/stream")
		f := r.feed()
		r.settled(held, 1)
		closed := make(chan int)
		go func() { closed <- r.desk.Lot.Close(context.Background()) }()
		within(t, "closing", r.desk.Lot.isClosing)
		f.say("last", false)
		late := r.dial()
		late.get("/stream") // keeps its goroutine
		g := r.feed()
		g.say("late", true)
		if a := late.answer(); a.body != "head late" {
			t.Errorf("got %q; want head late", a.body)
		}
		g.leaves(t)
		select {
		case <-closed:
			t.Error("closed while a stream goes on")
		default:
		}
		f.say(" words", true)
		if a := c.answer(); a.body != "head last words" {
			t.Errorf("got %q; want head last words", a.body)
		}
		f.leaves(t)
		c.ended()
		c.Close()
		if n := <-closed; n != 0 {
			t.Errorf("%d were cut; want none", n)
		}
	})
}

func TestClosingALotCutsStreams(t *testing.T) {
	inEveryWay(t, parked, func(t *testing.T, r *rig) {
		r.desk.WriteTimeout = patience
		slow, still := r.dial(), r.dial()
		slow.narrow()
		slow.get("/stream")
		f := r.feed()
		f.say(large+large, true)
		r.settled(writing, 1)
		still.get("/stream")
		g := r.feed()
		r.settled(held, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if n := r.desk.Lot.Close(ctx); n != 2 {
			t.Errorf("%d were cut; want 2", n)
		}
		f.leaves(t)
		g.leaves(t)
		g.say("late", true)
		if n, _ := io.Copy(io.Discard, slow); n >= int64(2*len(large)) {
			t.Error("the slow client got all")
		}
	})
}

// A parked stream keeps no buffer, no request and no goroutine.
func TestParkedStreamsAreSmall(t *testing.T) {
	if got := costOf(t, way{after: -1}, "/stream", func(r *rig) any { return r.feed() }); got > 1536 {
		t.Errorf("a parked stream takes %.0f bytes beside its connection; want 1536 at most", got)
	}
}
