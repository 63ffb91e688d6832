package test

import (
	"testing"
	"time"

	"sidecar/test/faultlink"
)

// growth bounds what one connection may add to the memory of the program, which
// has the race detector in it: a few times what is kept and borrowed.
const growth = 16 << 20

// A slow path: the sender feels it, nothing piles up here, nothing is lost, and
// being slow is no reason to be cut.
func TestFaultRateLimit(t *testing.T) {
	t.Parallel()
	const messages, size = 2000, 16 << 10 // 32 MB, more than all the kernel's buffers
	for _, s := range sides {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r, p := newProgramRig(t, "")
			k := r.open(t, "s", 0)
			k.exchange(t, 1, 100)
			before := p.rss(t)
			s.link(r).Set(faultlink.Both, faultlink.Fault{Rate: 8000})
			full := s.near(k).expect(1 + messages)
			sent := s.far(k).offer(messages, size)
			// Longer than write_timeout: as long as something goes out, it goes on.
			slow := time.NewTimer(13 * time.Second)
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

// A reader that takes nothing: the pressure reaches the sender, and after
// write_timeout both ends are told.
func TestFaultStalledReader(t *testing.T) {
	t.Parallel()
	const messages, size = 4000, 16 << 10
	for _, s := range sides {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r, p := newProgramRig(t, "limits: {write_timeout: 1500ms}")
			k := r.open(t, "s", 0)
			k.exchange(t, 1, 100)
			before := p.rss(t)
			start := time.Now()
			s.link(r).Set(faultlink.Both, faultlink.Fault{Stall: true})
			sent := s.far(k).offer(messages, size)
			within(t, patience, "the sender's being told", s.far(k).ended)
			if took := s.far(k).at.Sub(start); took < 1400*time.Millisecond || took > 5*time.Second {
				t.Errorf("ended after %v; want write_timeout and little more", took)
			}
			if got := s.far(k).code(); got != s.stuck {
				t.Errorf("the sender got %v; want code %d", s.far(k).err, s.stuck)
			}
			s.far(k).Close()
			if err := <-sent; err == nil {
				t.Error("the sender was never held back")
			}
			if got := p.rss(t) - before; got > growth {
				t.Errorf("the program grew by %d bytes", got)
			}
			s.link(r).Set(faultlink.Both, faultlink.Fault{})
			k.broken(t, patience)
			r.wantHonest(t)
		})
	}
}
