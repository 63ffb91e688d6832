package test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/test/faultlink"
	"sidecar/test/history"
)

// side names the links of a rig, and what the end beyond the other one hears
// when this one breaks.
type side struct {
	name string
	link func(*rig) *faultlink.Link
	// near is the peer that hangs on this link, far the one that must be told.
	near, far func(*talk) *peer
	// gone, silent and stuck are the codes that far is told.
	gone, silent, stuck int
}

var sides = []side{
	{"client", func(r *rig) *faultlink.Link { return r.front },
		func(k *talk) *peer { return k.client }, func(k *talk) *peer { return k.backend }, 1001, 1001, 1001},
	{"backend", func(r *rig) *faultlink.Link { return r.back },
		func(k *talk) *peer { return k.backend }, func(k *talk) *peer { return k.client }, 1012, 1011, 1011},
}

// chatter lets both ends of k send without end, until that fails.
func (k *talk) chatter(size int) {
	go k.client.send(1<<30, size)
	go k.backend.send(1<<30, size)
}

// exchange sends n messages each way and waits for all of them.
func (k *talk) exchange(t testing.TB, n, size int) {
	t.Helper()
	c := k.client.expect(k.client.h.Received(k.client.reads) + n)
	b := k.backend.expect(k.backend.h.Received(k.backend.reads) + n)
	go k.client.send(n, size)
	go k.backend.send(n, size)
	within(t, patience, "what the backend sent", c)
	within(t, patience, "what the client sent", b)
}

// A connection that ends on one side: the other side is told at once, by a code,
// and no loss is silent. In the midst of traffic a frame may be unfinished; then
// no close frame can follow it, and the end of the stream has to say it.
func TestFaultResetAndFIN(t *testing.T) {
	t.Parallel()
	for _, s := range sides {
		for how, name := range map[faultlink.Ending]string{faultlink.Reset: "RST", faultlink.FIN: "FIN"} {
			for _, busy := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %s busy %v", s.name, name, busy), func(t *testing.T) {
					r := newRig(t, "")
					for i := range 3 {
						k := r.open(t, fmt.Sprintf("s%d", i), 20)
						if busy {
							k.chatter(1000)
							within(t, patience, "some traffic", k.client.full)
						} else {
							k.exchange(t, 20, 1000)
						}
						start := time.Now()
						s.link(r).End(faultlink.Both, how)
						k.broken(t, 3*time.Second)
						took := s.far(k).at.Sub(start)
						if got := s.far(k).code(); got != s.gone && !(busy && got == 0) {
							t.Errorf("the other side got %v; want code %d", s.far(k).err, s.gone)
						}
						if !busy && took > time.Second {
							t.Errorf("told after %v", took)
						}
						t.Logf("told %v after %v", s.far(k).err, took)
					}
					r.wantHonest(t)
				})
			}
		}
	}
}

// Peers behind a black hole are noticed within interval + timeout (and a second
// for slow machines), and the other side is told by a close code. Several at
// once, since first beats are jittered.
func TestFaultBlackhole(t *testing.T) {
	t.Parallel()
	const interval, timeout = 400 * time.Millisecond, 400 * time.Millisecond
	for _, s := range sides {
		for d, name := range map[faultlink.Dir]string{faultlink.Up: "up", faultlink.Down: "down", faultlink.Both: "both"} {
			t.Run(s.name+" "+name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, fmt.Sprintf("heartbeat: {interval: %v, timeout: %v}", interval, timeout))
				var talks []*talk
				for i := range 8 {
					k := r.open(t, fmt.Sprintf("s%d", i), 0)
					k.exchange(t, 20, 1000)
					talks = append(talks, k)
				}
				start := time.Now()
				s.link(r).Set(d, faultlink.Fault{Blackhole: true})
				for _, k := range talks {
					s.far(k).send(10, 1000)
				}
				for _, k := range talks {
					within(t, patience, "the other side's being told", s.far(k).ended)
					if got := s.far(k).at.Sub(start); got > interval+timeout+time.Second {
						t.Errorf("noticed after %v", got)
					}
					if got := s.far(k).code(); got != s.silent {
						t.Errorf("the other side got %v; want code %d", s.far(k).err, s.silent)
					}
				}
				// The network comes back, and the lost ends meet closed sockets.
				s.link(r).End(faultlink.Both, faultlink.Reset)
				for _, k := range talks {
					k.broken(t, 3*time.Second)
				}
				r.wantHonest(t)
			})
		}
	}
}

// A path that is slow but works is no reason to give up.
func TestFaultLatency(t *testing.T) {
	t.Parallel()
	for _, s := range sides {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "heartbeat: {interval: 300ms, timeout: 2500ms}")
			k := r.open(t, "s", 0)
			s.link(r).Set(faultlink.Both, faultlink.Fault{Delay: 500 * time.Millisecond})
			k.exchange(t, 50, 1000)
			idle := time.NewTimer(4 * time.Second) // beats alone, each a second under way
			defer idle.Stop()
			select {
			case <-idle.C:
			case <-k.client.ended:
			case <-k.backend.ended:
			}
			k.exchange(t, 50, 1000)
			k.finish(t)
			r.wantClean(t)
		})
	}
}

// A process that was stopped for a while and goes on has lost nothing.
func TestFaultSidecarStopped(t *testing.T) {
	t.Parallel()
	r, p := newProgramRig(t, "heartbeat: {interval: 1s, timeout: 2s}")
	const messages, size = 3000, 2000
	k := r.open(t, "s", 100)
	up, down := k.client.offer(messages, size), k.backend.offer(messages, size)
	within(t, patience, "some traffic down", k.client.full)
	within(t, patience, "some traffic up", k.backend.full)
	k.client.expect(messages)
	k.backend.expect(messages)
	p.signal(t, syscall.SIGSTOP)
	asleep := time.NewTimer(2 * time.Second)
	<-asleep.C
	p.signal(t, syscall.SIGCONT)
	for _, sent := range []<-chan error{up, down} {
		if err := within(t, patience, "the end of sending", sent); err != nil {
			t.Errorf("sending: %v", err)
		}
	}
	k.finish(t)
	r.wantClean(t)
}

// A backend that is killed: its client hears of it within a second, by a code.
func TestFaultBackendKilled(t *testing.T) {
	t.Parallel()
	b := startNode(t)
	var h history.History
	p := newPeer(&h, dial(t, "ws://"+boot(t, b.addr, "").addr+"/echo"), "s", history.Up, history.Up, 10)
	go p.read()
	if err := p.send(10, 1000); err != nil {
		t.Fatal(err)
	}
	within(t, patience, "the echo", p.full)
	start := time.Now()
	b.cmd.Process.Kill()
	within(t, patience, "the client's being told", p.ended)
	if took := p.at.Sub(start); took > time.Second || p.code() != 1012 {
		t.Errorf("told %v after %v; want 1012 within a second", p.err, took)
	}
	if got := h.Check(); !got.Clean() {
		t.Error(got)
	}
}

// A close that the backend never got must not be answered in its name: the
// client would take what it sent before for delivered.
func TestFaultCloseIsNotAnsweredForADeadBackend(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	k := r.open(t, "s", 0)
	k.exchange(t, 10, 1000)
	r.back.Set(faultlink.Up, faultlink.Fault{Blackhole: true})
	k.client.send(10, 1000)
	k.client.leave()
	// A later message of the backend proves that the sidecar is at work.
	full := k.client.expect(11)
	k.backend.send(1, 1000)
	within(t, patience, "the backend's message", full)
	r.back.End(faultlink.Both, faultlink.Reset)
	k.client.line.(*websocket.Conn).SetReadDeadline(time.Now().Add(patience))
	within(t, patience, "the client's end", k.client.ended)
	if got := k.client.code(); got == 1000 {
		t.Errorf("the client got %v for a close that was lost with 10 messages", k.client.err)
	}
}
