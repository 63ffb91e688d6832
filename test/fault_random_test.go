package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidecar/test/faultlink"
)

// Sessions come and go while both links suffer whatever comes to mind. Nothing
// is duplicated, reordered, foreign or corrupt, and no loss is silent.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	suffer(t, 10*time.Second, overWebSocket)
}

// The same with clients that speak Engine.IO, by every transport of it.
func TestRandomFaultsEngine(t *testing.T) {
	t.Parallel()
	suffer(t, 10*time.Second, engineTransports...)
}

func TestRandomFaultsForTenMinutes(t *testing.T) {
	long(t)
	suffer(t, 10*time.Minute, append(engineTransports, overWebSocket)...)
}

func suffer(t *testing.T, d time.Duration, vias ...transport) {
	seed, rng := random(t)
	r := newRig(t, engineSettings(500*time.Millisecond, 500*time.Millisecond)+
		"heartbeat: {interval: 500ms, timeout: 500ms}\nlimits: {write_timeout: 1s, dial_timeout: 1s}\nlog: {level: warn, format: json}")
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var opened, clean atomic.Int64
	var wg sync.WaitGroup
	for w := range 16 {
		rng := rand.New(rand.NewPCG(seed, uint64(w+1)))
		r := *r
		r.via = vias[w%len(vias)]
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				o, c := r.visit(t, fmt.Sprintf("w%dn%d", w, i), rng)
				if !o {
					rest(ctx, 20*time.Millisecond)
					continue
				}
				opened.Add(1)
				if c {
					clean.Add(1)
				}
			}
		})
	}
	faults := r.harm(ctx, t, rng)
	wg.Wait()
	got := r.wantHonest(t)
	t.Logf("seed %d: %d faults; %d sessions opened, %d of them ended cleanly", seed, faults, opened.Load(), clean.Load())
	if clean.Load() == 0 || got.Lost == 0 {
		t.Errorf("seed %d: the faults hit all of the sessions or none", seed)
	}
}

// visit is one session: opened says that it came to be, clean that all arrived.
func (r *rig) visit(t *testing.T, id string, rng *rand.Rand) (opened, clean bool) {
	n := rng.IntN(40)
	k, err := r.try(id, n)
	if err != nil {
		return false, false
	}
	defer k.close()
	size := 40 << rng.IntN(11)
	up, down := k.client.offer(n, size), k.backend.offer(n, size)
	late := time.NewTimer(2 * patience)
	defer late.Stop()
	select {
	case <-both(k.client, k.backend):
		k.client.leave()
	case <-k.client.ended:
	case <-late.C:
		t.Errorf("session %s hangs: %d of %d arrived down, %d up", id,
			r.h.Received(k.client.reads), n, r.h.Received(k.backend.reads))
	}
	for _, p := range []*peer{k.client, k.backend} {
		select {
		case <-p.ended:
		case <-late.C:
			t.Errorf("session %s: %v does not end", id, p.sends)
			return true, false
		}
	}
	if k.client.code() != 1000 {
		k.told()
	}
	<-up
	<-down
	return true, k.client.code() == 1000 && k.backend.code() == k.goodbye
}

// both is closed when both peers have all, unless one of them ends before.
func both(a, b *peer) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		for _, p := range []*peer{a, b} {
			select {
			case <-p.full:
			case <-p.ended:
				select {
				case <-p.full:
				default:
					return
				}
			}
		}
		close(c)
	}()
	return c
}

// harm sets random faults until ctx is done, and leaves healthy links behind. It
// says how many faults there were.
func (r *rig) harm(ctx context.Context, t *testing.T, rng *rand.Rand) (faults int) {
	links := []*faultlink.Link{r.front, r.back}
	for ctx.Err() == nil {
		l := links[rng.IntN(2)]
		d := faultlink.Dir(1 + rng.IntN(3))
		how := faultlink.Ending(1 + rng.IntN(2))
		f := randomFault(rng)
		faults++
		switch rng.IntN(6) {
		case 0:
			l.End(faultlink.Both, how)
		case 1:
			if err := l.Refuse(); err != nil {
				t.Error(err)
			}
		default:
			l.Set(d, f)
		}
		rest(ctx, time.Duration(50+rng.IntN(400))*time.Millisecond)
		if err := l.Admit(); err != nil {
			t.Error(err)
		}
		if l.Set(faultlink.Both, faultlink.Fault{}); f.Blackhole {
			l.End(faultlink.Both, faultlink.Reset) // who lost bytes is out of step for good
		}
		rest(ctx, time.Duration(rng.IntN(200))*time.Millisecond)
	}
	return faults
}

func randomFault(rng *rand.Rand) faultlink.Fault {
	switch rng.IntN(5) {
	case 0:
		return faultlink.Fault{Blackhole: true}
	case 1:
		return faultlink.Fault{Stall: true}
	case 2:
		return faultlink.Fault{Delay: time.Duration(rng.IntN(200)) * time.Millisecond}
	case 3:
		return faultlink.Fault{Rate: 5000 + rng.IntN(100_000)}
	}
	return faultlink.Fault{Cut: faultlink.Ending(1 + rng.IntN(2)), After: rng.Int64N(20_000)}
}

// rest waits for d, or for the end of ctx.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
