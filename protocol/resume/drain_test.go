package resume

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"sidecar/protocol/resume/wire"
)

func (r *rig) drain(spread, most time.Duration) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), most)
		defer cancel()
		r.h.lobby().Drain(ctx, spread)
	}()
	return done
}

// §9.1: a drain tells when, then closes the backend, and the client gets its last
// words.
func TestDrain(t *testing.T) {
	inEveryWay(t, func(t *testing.T, r *rig) {
		first, second := r.raw(), r.raw()
		one := first.websocket()
		b1 := r.back.next()
		two := second.stream(second.hello())
		second.welcomed(two.frame())
		b2 := r.back.next()
		done := r.drain(50*time.Millisecond, patience)
		for _, l := range []*line{one, two} {
			f := l.frame()
			within, err := wire.ParseGoaway(f.Body)
			if f.Type != wire.TypeGoaway || err != nil || within > 50 {
				t.Errorf("got %s; want GOAWAY of at most 50 ms", show(f))
			}
		}
		b1.wantClose(codeGoingAway)
		b2.wantClose(codeGoingAway)
		one.want(`CLOSE 1 1001 ""`)
		one.send(ack(1))
		one.wantEnd(codeNormal)
		two.want(`CLOSE 1 1001 ""`)
		second.got.Received = 1
		second.ask(wire.Send, second.next(1))
		<-done
		r.wantSessions(0)
	})
}

// §9.1: what is left in the end is told GONE; nothing is opened any more.
func TestDrainEnds(t *testing.T) {
	r := newRig(t)
	c := r.raw()
	l := c.websocket()
	b := r.back.next()
	b.SetCloseHandler(func(int, string) error { return nil })
	done := r.drain(0, 200*time.Millisecond)
	l.want("GOAWAY \"\\x00\"")
	l.wantGone("drain")
	l.wantEnd(codeNormal)
	<-done
	late := r.raw()
	ws := late.dial()
	ws.send(late.hello())
	if f := ws.frame(); f.Type != wire.TypeRefused || decode(t, f)["status"] != 503.0 {
		t.Errorf("got %s; want REFUSED 503", show(f))
	}
}

// §9.1: a client that polls cannot come back once nothing is accepted, and is told so
// with the last answer. One that is away is not waited for.
func TestDrainOfPolls(t *testing.T) {
	inEveryWay(t, func(t *testing.T, r *rig) {
		var leaving atomic.Bool
		r.h.Leaving = leaving.Load
		c := r.raw()
		c.poll()
		b := r.back.next()
		r.raw().websocket().ws.Close()
		leaving.Store(true)
		answers := make(chan []wire.Frame)
		go func() { answers <- c.ask(wire.Poll, append(c.next(1), text(1, "held")...)) }()
		b.want("held")
		b.say("last words")
		all := <-answers
		wantFrames(t, all[1:], `DATA 1+0 more=false "last words" `, `GONE "{\"reason\":\"drain\"}"`)
		r.wantSessions(1)
		eventually(t, "carriers", 0, r.carriers) // that client's leaving is known
		start := time.Now()
		<-r.drain(0, patience)
		if took := time.Since(start); took > patience/4 {
			t.Errorf("the drain waited %v for a client that is away", took)
		}
	})
}
