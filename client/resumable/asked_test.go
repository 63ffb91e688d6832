package resumable

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/protocol/resume/wire"
)

// Who asks again and again learns that the network is gone all the same.
func TestCheckNetworkEachSecond(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		c := r.open(r.options(kind))
		r.echo(c, "hello")
		synctest.Wait()
		r.blackhole(true)
		start := time.Now()
		for c.Transport() != None && time.Since(start) < time.Minute {
			c.CheckNetwork()
			time.Sleep(time.Second)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("given up after %v; want at most 3s", took)
		}
		r.blackhole(false)
	})
}

// A check that is told to come later says that the network works: the carrier is kept.
func TestCheckThatIsToldToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		o := r.options(Stream)
		o.OnTransport = func(now Transport, why error) {
			if now == None {
				t.Errorf("lost: %v", why)
			}
		}
		c := r.open(o)
		r.echo(c, "hello")
		r.f.set(wire.Stream, limited)
		c.CheckNetwork()
		time.Sleep(5 * time.Second)
		r.echo(c, "all is well")
	})
}

// CheckNetwork ends a wait, also one that somebody on the way asked for.
func TestCheckNetworkEndsAWait(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		c := r.open(r.options(kind))
		r.echo(c, "hello")
		for _, kind := range []wire.Kind{wire.Stream, wire.Poll, wire.Send} {
			r.f.set(kind, func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Retry-After", "60")
				http.Error(w, "later", http.StatusServiceUnavailable)
				return true
			})
		}
		r.f.set(wire.WebSocket, refused)
		r.cut()
		time.Sleep(20 * time.Second)
		for _, kind := range []wire.Kind{wire.WebSocket, wire.Stream, wire.Poll, wire.Send} {
			r.f.set(kind, nil)
		}
		c.CheckNetwork()
		start := time.Now()
		r.echo(c, "back")
		if took := time.Since(start); took != 0 {
			t.Errorf("back after %v; want at once", took)
		}
	})
}

// What a carrier that is not in use acknowledges may be lost with it, and is said again.
func TestAckByACarrierNotInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c := r.open(r.options(Stream))
		r.echo(c, "hello")
		synctest.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.in.news() {
			t.Fatal("there is nothing to acknowledge")
		}
		c.continueLocked(&carrier{c: c, kind: wire.Stream}, wire.Send, false)
		if !c.in.news() {
			t.Error("it counts as told")
		}
		c.continueLocked(c.used, wire.Send, false)
		if c.in.news() {
			t.Error("what the carrier in use says does not count")
		}
	})
}

// An ACK on a WebSocket does not wait for as long as it might have on the stream before.
func TestAckBehindAMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.f.set(wire.WebSocket, refused)
		c := r.open(r.options(WebSocket, Stream))
		s := r.f.only()
		say := func() {
			s.do(func() { s.out.add(true, []byte("news")) })
			if _, _, err := c.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		r.f.set(wire.WebSocket, nil)
		time.Sleep(probeEvery - time.Second/2)
		say()
		time.Sleep(time.Second)
		if c.Transport() != WebSocket {
			t.Fatalf("transport %q; want websocket", c.Transport())
		}
		say()
		time.Sleep(time.Second)
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.out.first != 3 {
			t.Errorf("message %d is not acknowledged 1s behind it", s.out.first)
		}
	})
}

// What ended a transport is what its requests met.
func TestSendsThatFailSayWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		o := r.options(Stream)
		var whys []error
		o.OnTransport = func(_ Transport, why error) { whys = append(whys, why) }
		c := r.open(o)
		r.f.set(wire.Send, badGateway)
		if err := c.Write(t.Context(), Text, []byte("x")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		s := (*statusError)(nil)
		if len(whys) < 2 || !errors.As(whys[1], &s) {
			t.Errorf("told %v; want that the transport was lost by a status", whys)
		}
		r.f.set(wire.Send, nil)
	})
}

// That no carrier came while there was no network says nothing of streams: behind it a stream
// comes before a poll, as ever.
func TestStreamBehindAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		o := r.options(Stream, Poll)
		var gone atomic.Bool
		o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if gone.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return r.dial(ctx, network, addr)
		}
		c := r.open(o)
		r.echo(c, "hello")
		time.Sleep(5 * time.Second)
		gone.Store(true)
		r.cut()
		time.Sleep(10 * time.Second)
		gone.Store(false)
		c.CheckNetwork()
		r.echo(c, "back")
		if c.Transport() != Stream {
			t.Errorf("transport %q; want stream", c.Transport())
		}
	})
}
