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
