package test

import (
	"testing"
	"time"

	"sidecar/test/faultlink"
)

// A client behind 8 kB/s: its backend is held back, nothing piles up in between, and
// when the path is better all comes.
func TestResumePressure(t *testing.T) {
	long(t)
	const messages, size = 1500, 16 << 10 // 24 MB, more than all the kernel's buffers
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			r, p := newProgramRig(t, "")
			j := r.roam(t, "s", r.front.Addr(), k)
			j.exchange(t, 1, 100)
			before := p.rss(t)
			r.front.Set(faultlink.Both, faultlink.Fault{Rate: 8000})
			full := j.client.expect(1 + messages)
			sent := j.backend.offer(messages, size)
			slow := time.NewTimer(3 * time.Second)
			defer slow.Stop()
			select {
			case <-slow.C:
			case err := <-sent:
				t.Errorf("the backend was not held back (%v)", err)
			case <-j.client.ended:
				t.Fatalf("the client was cut: %v", j.client.err)
			}
			if got := p.rss(t) - before; got > growth {
				t.Errorf("the program grew by %d bytes", got)
			} else {
				t.Logf("%s: the program grew by %d KiB", k.name, got>>10)
			}
			r.front.Set(faultlink.Both, faultlink.Fault{})
			lifted := time.Now()
			j.await(t, "all messages", full)
			t.Logf("%s: all %v after the path was better; moves %v", k.name, time.Since(lifted), j.client.changes())
			if err := <-sent; err != nil {
				t.Errorf("sending: %v", err)
			}
			j.finish(t)
			r.wantClean(t)
		})
	}
}

// A backend that takes nothing for a while: the client is held back after a window, and
// what the kernels take, and then all arrives.
func TestResumeStalledBackend(t *testing.T) {
	const messages, size = 600, 16 << 10
	everyKind(t, func(t *testing.T, k kind) {
		r := newRig(t, "")
		j := r.roam(t, "s", r.front.Addr(), k)
		j.exchange(t, 1, 100)
		r.back.Set(faultlink.Up, faultlink.Fault{Stall: true})
		full := j.backend.expect(1 + messages)
		sent := make(chan error, 1)
		go func() { sent <- j.client.send(messages, size) }()
		stalled := time.NewTimer(2 * time.Second)
		defer stalled.Stop()
		select {
		case <-stalled.C:
		case err := <-sent:
			t.Errorf("the client was not held back (%v)", err)
		}
		down := j.client.expect(1 + 20)
		if err := j.backend.send(20, 1000); err != nil { // the other direction goes on
			t.Errorf("sending down: %v", err)
		}
		j.await(t, "what the backend sent meanwhile", down)
		r.back.Set(faultlink.Both, faultlink.Fault{})
		j.await(t, "what the client sent", full)
		if err := <-sent; err != nil {
			t.Errorf("sending: %v", err)
		}
		j.finish(t)
		r.wantClean(t)
	})
}

// A backend that takes nothing for longer than write_timeout, or is silent for longer than
// a heartbeat: that is an end, and the client is told.
func TestResumeBackendStuck(t *testing.T) {
	for name, f := range map[string]faultlink.Fault{"stalled": {Stall: true}, "black hole": {Blackhole: true}} {
		t.Run(name, func(t *testing.T) {
			everyKind(t, func(t *testing.T, k kind) {
				r := newRig(t, quick+"limits: {write_timeout: 1500ms}\n")
				j := r.roam(t, "s", r.front.Addr(), k)
				j.exchange(t, 20, 1000)
				start := time.Now()
				r.back.Set(faultlink.Both, f)
				sent := make(chan error, 1)
				go func() { sent <- j.client.send(600, 16<<10) }()
				within(t, patience, "the client's end", j.client.ended)
				if took := j.client.at.Sub(start); took > 10*time.Second { // each part that a kernel still takes begins anew
					t.Errorf("told after %v; want write_timeout or a heartbeat, once for each part", took)
				}
				if got := closeCode(j.client.err); got != 1011 {
					t.Errorf("told %v; want 1011", j.client.err)
				}
				t.Logf("%s, %s: told %v", k.name, name, j.client.err)
				<-sent
				j.client.h.Told(j.id, j.client.err.Error())
				r.back.End(faultlink.Both, faultlink.Reset)
				r.wantHonest(t)
			})
		})
	}
}
