package test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidecar/test/faultlink"
)

func eachEngine(t *testing.T, f func(t *testing.T, via transport)) {
	for _, via := range engineTransports {
		t.Run(via.name, func(t *testing.T) {
			t.Parallel()
			f(t, via)
		})
	}
}

// A connection that ends on one side, idle or in the midst of traffic: the other
// side is told at once, and no loss is silent.
func TestFaultEngineResetAndFIN(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, via transport) {
		for _, s := range sides {
			for how, name := range map[faultlink.Ending]string{faultlink.Reset: "RST", faultlink.FIN: "FIN"} {
				for _, busy := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s %s busy %v", s.name, name, busy), func(t *testing.T) {
						r := newEngineRig(t, via, engineSettings(time.Second, 4*time.Second))
						for i := range 2 {
							r.breakOff(t, s, how, fmt.Sprintf("s%d", i), busy)
						}
						r.wantHonest(t)
					})
				}
			}
		}
	})
}

func (r *rig) breakOff(t *testing.T, s side, how faultlink.Ending, id string, busy bool) {
	t.Helper()
	before := r.front.Forwarded(faultlink.Up)
	k := r.open(t, id, 20)
	limit := 3 * time.Second // at once, but for slow machines: the ping timeout takes longer
	if busy {
		k.client.offer(300, 1000)
		k.backend.offer(300, 1000)
		within(t, patience, "some traffic, or an end", either(k.client.full, k.client.ended))
		select {
		case <-k.client.full:
		default:
			t.Fatalf("the client ended before there was any fault: %v", k.client.err)
		}
		// Where no GET was pending, the server hears nothing before the ping timeout.
		limit = 8 * time.Second
	} else {
		k.exchange(t, 20, 1000)
		r.quiet(t, k, before)
		k.exchange(t, 1, 100) // which has gone over the last transport
		r.quiet(t, k, before)
	}
	start := time.Now()
	s.link(r).End(faultlink.Both, how)
	k.broken(t, patience)
	took := s.far(k).at.Sub(start)
	if took > limit {
		t.Errorf("told after %v (%v)", took, s.far(k).err)
	}
	if s.name == "client" && s.far(k).code() != 1001 {
		t.Errorf("the backend got %v; want 1001", s.far(k).err)
	}
	t.Logf("told %v after %v", s.far(k).err, took)
}

// quiet waits until a client of ours, the only one on its link, is on its last
// transport, and the sidecar has its GET. before is what went up before it came.
func (r *rig) quiet(t *testing.T, k *talk, before int64) {
	t.Helper()
	e := k.client.line.(*engine)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for !e.quiet(r.front.Forwarded(faultlink.Up) - before) {
		select {
		case <-again.C:
		case <-late.C:
			t.Fatal("the client does not come to rest")
		}
	}
}

// quiet reports whether nothing is under way but a GET, which has arrived when as
// much went up as was written.
func (e *engine) quiet(up int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy || e.held || e.upgrading || len(e.queue) > 0 {
		return false
	}
	asked, get := e.get.counts()
	_, post := e.post.counts()
	return e.ws != nil || asked && up == get+post
}

// A client behind a black hole is noticed within interval + timeout, and a second
// for slow machines; so is a sidecar, by its clients.
func TestFaultEngineBlackhole(t *testing.T) {
	t.Parallel()
	const interval, timeout = 500 * time.Millisecond, 500 * time.Millisecond
	limit := interval + timeout + time.Second
	eachEngine(t, func(t *testing.T, via transport) {
		for d, name := range map[faultlink.Dir]string{faultlink.Up: "up", faultlink.Down: "down", faultlink.Both: "both"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				// A ping that comes amid an upgrade may be answered behind it.
				r := newEngineRig(t, via, strings.Replace(engineSettings(interval, timeout), "{", "{upgrade_timeout: 500ms, ", 1))
				var talks []*talk
				for i := range 8 {
					k := r.open(t, fmt.Sprintf("s%d", i), 0)
					k.exchange(t, 20, 1000)
					talks = append(talks, k)
				}
				start := time.Now()
				r.front.Set(d, faultlink.Fault{Blackhole: true})
				for _, k := range talks {
					k.backend.send(10, 1000)
				}
				for _, k := range talks {
					within(t, patience, "the client's being told", k.client.ended)
					within(t, patience, "the backend's being told", k.backend.ended)
					for _, p := range []*peer{k.client, k.backend} {
						if got := p.at.Sub(start); got > limit {
							t.Errorf("noticed after %v (%v)", got, p.err)
						}
					}
					if k.backend.code() != 1001 {
						t.Errorf("the backend got %v; want 1001", k.backend.err)
					}
					k.told()
				}
				r.wantHonest(t)
			})
		}
	})
}

// A connection that is cut after every number of bytes, from the handshake on: a
// session opens whole or not at all, no part of a message passes for a whole one,
// nobody is left hanging, and every loss is told. The client's GETs and POSTs have a
// connection each, and each of them is cut there.
func TestFaultEngineCutAfterEveryByte(t *testing.T) {
	t.Parallel()
	for d, name := range map[faultlink.Dir]string{faultlink.Up: "up", faultlink.Down: "down"} {
		for how, end := range map[faultlink.Ending]string{faultlink.Reset: "RST", faultlink.FIN: "FIN"} {
			t.Run(name+" "+end, func(t *testing.T) {
				t.Parallel()
				const atOnce = 50
				bytes := cutBytes[d]
				r := newEngineRig(t, overPolling, engineSettings(500*time.Millisecond, 500*time.Millisecond))
				var opened, whole atomic.Int64
				var wg sync.WaitGroup
				places := make(chan struct{}, atOnce)
				for n := 0; n < bytes; n += step(how) {
					places <- struct{}{}
					wg.Go(func() {
						defer func() { <-places }()
						o, w, err := r.cut(fmt.Sprintf("n%03d", n), d, faultlink.Fault{Cut: how, After: int64(n)})
						if err != nil {
							t.Errorf("N = %d: %v", n, err)
						}
						opened.Add(int64(o))
						whole.Add(int64(w))
					})
				}
				wg.Wait()
				t.Logf("of %d sessions %d opened, and %d ended whole", bytes/step(how), opened.Load(), whole.Load())
				if opened.Load() == int64(bytes/step(how)) || whole.Load() == 0 || whole.Load() == opened.Load() {
					t.Error("the cuts missed the handshake or the exchange, or hit all")
				}
				r.wantHonest(t)
			})
		}
	}
}

// step is how far apart the cuts are: an end in good order meets the same code as a
// reset, and is tried at every byte in a long run only.
func step(how faultlink.Ending) int {
	if how == faultlink.FIN && os.Getenv("E2E_LONG") == "" {
		return 4
	}
	return 1
}

// cut plays a message each way over a link of its own that is cut. It reports whether
// the session opened, and whether it ended as if there had been no cut.
func (r *rig) cut(id string, d faultlink.Dir, f faultlink.Fault) (opened, whole int, err error) {
	front, err := faultlink.Listen(r.addr)
	if err != nil {
		return 0, 0, err
	}
	defer front.Close()
	front.Set(d, f)
	own := *r
	own.front = front
	k, err := own.try(id, 1)
	if err != nil {
		return 0, 0, nil
	}
	defer k.close()
	k.client.send(1, cutSize)
	k.backend.send(1, cutSize)
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-both(k.client, k.backend):
		k.client.leave()
	case <-k.client.ended:
	case <-late.C:
		return 1, 0, errors.New("neither all arrives nor is the client told")
	}
	for _, p := range []*peer{k.client, k.backend} {
		select {
		case <-p.ended:
		case <-late.C:
			return 1, 0, fmt.Errorf("%v does not end", p.sends)
		}
	}
	if k.client.code() != 1000 {
		k.told()
		return 1, 0, nil
	}
	return 1, 1, nil
}

// cutBytes are more than a connection carries of a handshake, a poll and its answer.
var cutBytes = map[faultlink.Dir]int{faultlink.Up: 450, faultlink.Down: 750}

// The same POST on two connections at once, as a proxy that retries makes it: the
// session ends, and the backend has nothing twice.
func TestFaultEngineDoubledPOST(t *testing.T) {
	t.Parallel()
	r := newEngineRig(t, overPolling, engineSettings(time.Second, time.Second))
	for i := range 20 {
		before := r.front.Forwarded(faultlink.Up)
		k := r.open(t, fmt.Sprintf("s%d", i), 0)
		e := k.client.line.(*engine)
		k.exchange(t, 1, 100)
		r.quiet(t, k, before)
		body := append([]byte("4"), r.h.Send(k.client.sends, 100)...)
		first, second := hop{addr: e.addr, host: e.host}, hop{addr: e.addr, host: e.host}
		defer first.close(false)
		defer second.close(false)
		if err := first.part(e.target("polling"), len(body)); err != nil {
			t.Fatal(err)
		}
		if status, answer, err := second.do("POST", e.target("polling"), body); err != nil || status != 400 {
			t.Errorf("the second POST got %d %q, %v; want 400", status, answer, err)
		}
		first.write(body)
		if status, _, err := first.answer("POST"); err == nil && status == 200 {
			t.Errorf("the first POST got 200 in a session that is dead")
		}
		k.broken(t, 4*time.Second)
	}
	r.wantHonest(t)
}

// A path that is slow but works is no reason to give up.
func TestFaultEngineLatency(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, via transport) {
		r := newEngineRig(t, via, engineSettings(300*time.Millisecond, 3*time.Second))
		r.front.Set(faultlink.Both, faultlink.Fault{Delay: 250 * time.Millisecond})
		k := r.open(t, "s", 0)
		for range 3 {
			k.exchange(t, 50, 1000)
		}
		k.finish(t)
		r.wantClean(t)
	})
}

// A slow path: the sender feels it, nothing piles up here, nothing is lost, and being
// slow is no reason to be cut.
func TestFaultEngineRateLimit(t *testing.T) {
	t.Parallel()
	const messages, size = 500, 16 << 10 // 8 MB, more than all buffers
	for _, s := range sides {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r, p := newProgramRig(t, engineSettings(2*time.Second, 8*time.Second))
			r.via = overPolling
			k := r.open(t, "s", 0)
			k.exchange(t, 1, 100)
			before := p.rss(t)
			s.link(r).Set(faultlink.Both, faultlink.Fault{Rate: 8000})
			full := s.near(k).expect(1 + messages)
			sent := s.far(k).offer(messages, size)
			slow := time.NewTimer(5 * time.Second)
			defer slow.Stop()
			select {
			case <-slow.C:
			case err := <-sent:
				t.Errorf("the sender was not held back (%v)", err)
			case <-k.client.ended:
				t.Fatalf("the client was cut: %v", k.client.err)
			case <-k.backend.ended:
				t.Fatalf("the backend was cut: %v", k.backend.err)
			}
			if got := p.rss(t) - before; got > growth {
				t.Errorf("the program grew by %d bytes", got)
			}
			s.link(r).Set(faultlink.Both, faultlink.Fault{})
			within(t, patience, "all messages", full)
			if err := <-sent; err != nil {
				t.Errorf("sending: %v", err)
			}
			k.finish(t)
			r.wantClean(t)
		})
	}
}
