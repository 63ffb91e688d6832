package resumable

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/protocol/resume/wire"
)

// Whatever each kind met for how long: who may get through again does so soon, nobody is
// asked all the time meanwhile, and a close waits for nothing that hangs.
func TestComingBackFromAnything(t *testing.T) {
	schedules := 40
	if testing.Short() {
		schedules = 10
	}
	first := rand.Uint64()
	for i := range uint64(schedules) {
		if seed := first + i; !t.Failed() {
			synctest.Test(t, func(t *testing.T) { storm(t, rand.New(rand.NewPCG(seed, 2))) })
			if t.Failed() {
				t.Errorf("with seed %d", seed)
			}
		}
	}
}

func limited(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("Retry-After", "3")
	http.Error(w, "later", http.StatusServiceUnavailable)
	return true
}

func storm(t *testing.T, chance *rand.Rand) {
	r := newRig(t, nil)
	r.f.welcome.TTL = 3_600_000
	var weather atomic.Int64 // 0: fine
	var dials atomic.Int64
	kinds := [][]Transport{{WebSocket}, {Stream}, {Poll}, {WebSocket, Stream, Poll}, {WebSocket, Stream}, {WebSocket, Poll}, {Stream, Poll}}
	o := r.options(kinds[chance.IntN(len(kinds))]...)
	o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		switch weather.Load() {
		case 1:
			return nil, errors.New("no network")
		case 2:
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return r.dial(ctx, network, addr)
	}
	c := r.open(o)
	r.echo(c, "hello")
	var welcomed times
	for range 12 {
		for _, kind := range []wire.Kind{wire.WebSocket, wire.Stream, wire.Poll, wire.Send} {
			hooks := []func(http.ResponseWriter, *http.Request) bool{nil, refused, hanging, limited}
			switch kind {
			case wire.WebSocket:
				hooks = append(hooks, killed, r.f.leaving(uint64(chance.IntN(3)), &welcomed))
			case wire.Stream:
				hooks = append(hooks, startedOnly)
			}
			r.f.set(kind, hooks[chance.IntN(len(hooks))])
		}
		weather.Store(max(0, int64(chance.IntN(6))-3))
		if chance.IntN(3) > 0 {
			r.cut()
		}
		if chance.IntN(4) == 0 {
			c.CheckNetwork()
		}
		before := dials.Load()
		took := time.Duration(chance.IntN(30_000)) * time.Millisecond
		time.Sleep(took)
		if n, most := dials.Load()-before, 30+4*int64(took/time.Second); n > most {
			t.Errorf("%d were dialed in %v; want at most %d", n, took, most)
		}
		c.mu.Lock()
		if len(c.carriers) > maxAlive {
			t.Errorf("%d carriers live", len(c.carriers))
		}
		c.mu.Unlock()
	}
	if chance.IntN(3) == 0 {
		start := time.Now()
		c.CloseNow()
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("CloseNow took %v", took)
		}
		return
	}
	weather.Store(0)
	for _, kind := range []wire.Kind{wire.WebSocket, wire.Stream, wire.Poll, wire.Send} {
		r.f.set(kind, nil)
	}
	start := time.Now()
	r.echo(c, "back")
	if took := time.Since(start); took > 45*time.Second {
		t.Errorf("back after %v by %q; want at most 45s", took, c.Transport())
	}
}
