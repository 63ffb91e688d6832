package resumable

import (
	"bytes"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/protocol/resume/wire"
)

func badGateway(w http.ResponseWriter, _ *http.Request) bool {
	http.Error(w, "nobody is there", http.StatusBadGateway)
	return true
}

// Of two servers behind a proxy one may be down: every second request fails at once. Nobody
// is asked all the time for that, and messages get across.
func TestEachSecondRequestFails(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		c := r.open(r.options(kind))
		r.echo(c, "hello")
		var n atomic.Int64
		second := func(w http.ResponseWriter, q *http.Request) bool {
			time.Sleep(time.Millisecond)
			return n.Add(1)%2 == 1 && badGateway(w, q)
		}
		for _, kind := range []wire.Kind{wire.WebSocket, wire.Stream, wire.Poll, wire.Send} {
			r.f.set(kind, second)
		}
		r.cut()
		time.Sleep(time.Minute)
		if got := n.Load(); got > 300 {
			t.Errorf("%d requests in a minute; want 300 at most", got)
		}
		for range 5 {
			start := time.Now()
			r.echo(c, "across")
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("an echo took %v; want 30s at most", took)
			}
		}
		for _, kind := range []wire.Kind{wire.WebSocket, wire.Stream, wire.Poll, wire.Send} {
			r.f.set(kind, nil)
		}
		time.Sleep(10 * time.Second) // or what sleeps is left
	})
}

// A large message comes by many answers, each at once and with a part of it: none is in vain.
func TestLargeMessageByPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c := r.open(r.options(Poll))
		large := bytes.Repeat([]byte("large"), 3<<20)
		start := time.Now()
		s := r.f.only()
		s.do(func() { s.out.add(true, large) })
		if _, p, err := c.Read(t.Context()); err != nil || !bytes.Equal(p, large) {
			t.Errorf("Read: %d bytes, %v; want %d", len(p), err, len(large))
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v; want no pause", took)
		}
	})
}
