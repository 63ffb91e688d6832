package test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidecar/client/resumable"
	"sidecar/test/faultlink"
)

// eager tries again soon, so that thousands of cuts take minutes and not hours.
var eager = resumable.Options{MinBackoff: 10 * time.Millisecond}

// A cut is where a connection ends, and how.
type cut struct {
	n   int
	how faultlink.Ending
}

// cuts are all of so many bytes in a long run, and in a normal one a few, which chance
// moves from run to run. Endings take turns.
func cuts(t testing.TB, upto, few int) (cuts []cut) {
	t.Helper()
	_, rng := random(t)
	stride, how := 1, rng.IntN(2)
	if !isLong() && upto > few {
		stride = upto / few
	}
	for n := rng.IntN(stride); n < upto; n += stride {
		cuts = append(cuts, cut{n, faultlink.Ending(1 + how)})
		how = 1 - how
	}
	return cuts
}

// abreast calls do for each of them, several at once.
func abreast(all []cut, do func(c cut)) {
	places := make(chan struct{}, 4)
	var wg sync.WaitGroup
	for _, c := range all {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			do(c)
		})
	}
	wg.Wait()
}

// bothWays runs a test for each kind and direction.
func bothWays(t *testing.T, test func(t *testing.T, k kind, d faultlink.Dir)) {
	everyKind(t, func(t *testing.T, k kind) {
		for d, name := range map[faultlink.Dir]string{faultlink.Up: "up", faultlink.Down: "down"} {
			t.Run(name, func(t *testing.T) { test(t, k, d) })
		}
	})
}

// takes fails where the longest took longer than that.
func (w *worst) takes(t testing.TB, what string, atMost time.Duration) {
	t.Helper()
	if got := time.Duration(w.Load()); got > atMost {
		t.Errorf("%s: the longest took %v; want at most %v", what, got, atMost)
	} else {
		t.Logf("%s: the longest took %v", what, got)
	}
}

// worst keeps the longest of many.
type worst struct{ atomic.Int64 }

func (w *worst) add(d time.Duration) {
	for {
		was := w.Load()
		if int64(d) <= was || w.CompareAndSwap(was, int64(d)) {
			return
		}
	}
}

// A session's connections are cut after every number of bytes of an exchange: one
// message each way with all that goes around it.
func TestResumeCutAfterEveryByte(t *testing.T) {
	bothWays(t, func(t *testing.T, k kind, d faultlink.Dir) {
		r := newRig(t, "")
		upto := 120 // frames alone
		if k.may != nil && k.may[0] != resumable.WebSocket {
			upto = 700 // and the heads of requests and answers
		}
		var longest worst
		abreast(cuts(t, upto, 12), func(c cut) {
			l := r.aside(t)
			defer l.Close()
			j, err := r.embark(fmt.Sprint("n", c.n), l.Addr(), k, eager)
			if err != nil {
				t.Errorf("N = %d: opening: %v", c.n, err)
				return
			}
			defer j.close()
			if !j.settle(t, 2) {
				return
			}
			j.road.lead(r.addr)
			l.Set(d, faultlink.Fault{Cut: c.how, After: int64(c.n)})
			start := time.Now()
			if j.settle(t, 1) {
				longest.add(time.Since(start))
				j.leave(t)
			}
		})
		r.wantClean(t)
		longest.takes(t, k.name, 500*time.Millisecond+2*slack)
	})
}

// The connection that is to resume a session is cut itself, after every number of
// bytes of handshake, HELLO and WELCOME: so each WELCOME is lost, whole and in part.
func TestResumeCutWhileResuming(t *testing.T) {
	bothWays(t, func(t *testing.T, k kind, d faultlink.Dir) {
		r := newRig(t, "")
		upto := 900
		var longest worst
		abreast(cuts(t, upto, 12), func(c cut) {
			first, second := r.aside(t), r.aside(t)
			defer first.Close()
			defer second.Close()
			j, err := r.embark(fmt.Sprint("n", c.n), first.Addr(), k, eager)
			if err != nil {
				t.Errorf("N = %d: opening: %v", c.n, err)
				return
			}
			defer j.close()
			if !j.settle(t, 2) {
				return
			}
			j.road.lead(r.addr, second.Addr())
			second.Set(d, faultlink.Fault{Cut: c.how, After: int64(c.n)})
			start := time.Now()
			first.End(faultlink.Both, faultlink.Reset)
			if j.settle(t, 3) {
				longest.add(time.Since(start))
				j.leave(t)
			}
		})
		r.wantClean(t)
		longest.takes(t, k.name, 500*time.Millisecond+2*slack)
	})
}

// The first connection of a race is cut after every number of bytes: the session opens
// all the same, with one connection to the backend, and is no plain WebSocket.
func TestResumeCutWhileOpening(t *testing.T) {
	t.Parallel()
	for d, name := range map[faultlink.Dir]string{faultlink.Up: "up", faultlink.Down: "down"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "")
			var longest worst
			abreast(cuts(t, 900, 16), func(c cut) {
				bad := r.aside(t)
				defer bad.Close()
				bad.Set(d, faultlink.Fault{Cut: c.how, After: int64(c.n)})
				id := fmt.Sprint("n", c.n)
				start := time.Now()
				j, err := r.embarkBy(&road{addr: r.addr, detour: []string{bad.Addr()}}, id, kinds[3], eager)
				if err != nil {
					t.Errorf("N = %d: opening: %v", c.n, err)
					return
				}
				defer j.close()
				longest.add(time.Since(start))
				if j.client.Transport() == resumable.Plain {
					t.Errorf("N = %d: became a plain WebSocket", c.n)
					return
				}
				if j.settle(t, 2) {
					j.leave(t)
				}
				select {
				case <-r.arrivals.of(id):
					t.Errorf("N = %d: the backend has two connections", c.n)
				default:
				}
			})
			r.wantClean(t)
			longest.takes(t, "opening", 2*slack)
		})
	}
}

// settle sends n messages of cutSize bytes each way and reports whether all came. It
// may be called by any goroutine, unlike exchange.
func (j *journey) settle(t testing.TB, n int) bool {
	t.Helper()
	down := j.client.expect(j.client.h.Received(j.client.reads) + n)
	up := j.backend.expect(j.backend.h.Received(j.backend.reads) + n)
	if err := j.client.send(n, cutSize); err != nil {
		t.Errorf("%s: sending: %v", j.id, err)
		return false
	}
	if err := j.backend.send(n, cutSize); err != nil {
		t.Errorf("%s: sending down: %v", j.id, err)
		return false
	}
	late := time.NewTimer(2 * patience)
	defer late.Stop()
	for _, c := range []<-chan struct{}{down, up} {
		select {
		case <-c:
		case <-j.client.ended:
			t.Errorf("%s: the client ended with %v; moves %v", j.id, j.client.err, j.client.changes())
			return false
		case <-late.C:
			t.Errorf("%s: %d up, %d down, transport %q, moves %v", j.id,
				j.backend.h.Received(j.backend.reads), j.client.h.Received(j.client.reads), j.client.Transport(), j.client.changes())
			return false
		}
	}
	return true
}

// leave is finish for any goroutine.
func (j *journey) leave(t testing.TB) {
	t.Helper()
	if err := j.client.Close(1000, "done"); err != nil {
		t.Errorf("%s: closing: %v", j.id, err)
		return
	}
	<-j.client.ended
	<-j.backend.ended
	if closeCode(j.client.err) != 1000 || j.backend.code() != 1000 {
		t.Errorf("%s: closed with %v at the client, %v at the backend; want 1000", j.id, j.client.err, j.backend.err)
	}
}
