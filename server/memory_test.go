package server

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

const mega = 1 << 20

func TestKeeperKnowsWhenToGiveBack(t *testing.T) {
	for _, c := range []struct {
		name string
		was  usage
		now  usage
		left uint64
		want bool
	}{
		{"idle, nothing to gain", usage{}, usage{objects: 8 * mega, live: 8 * mega, percent: 100}, 0, false},
		{"free memory after a burst", usage{}, usage{objects: 8 * mega, live: 8 * mega, free: 3 * mega, percent: 100}, 0, true},
		{"garbage after a burst", usage{}, usage{objects: 15 * mega, live: 8 * mega, percent: 100}, 0, true},
		{"as much garbage as there always is", usage{}, usage{objects: 9 * mega, live: 8 * mega, percent: 100}, 0, false},
		{"a small heap", usage{}, usage{objects: mega, live: mega, free: mega - 1, percent: 100}, 0, false},
		{"fewer objects than were alive", usage{}, usage{objects: mega, live: 8 * mega, free: 2*mega - 1, percent: 100}, 0, false},
		{"the burst lasts", usage{}, usage{objects: 8 * mega, live: 8 * mega, free: 8 * mega, allocated: 8 * mega, percent: 100}, 0, false},
		{"the burst is over", usage{allocated: 100 * mega}, usage{objects: 8 * mega, live: 8 * mega, free: 8 * mega, allocated: 101 * mega, percent: 100}, 0, true},
		{"what cannot be had", usage{}, usage{objects: 8 * mega, live: 8 * mega, free: 8 * mega, percent: 100}, 7 * mega, false},
		{"more than what cannot be had", usage{}, usage{objects: 8 * mega, live: 8 * mega, free: 9 * mega, percent: 100}, 7 * mega, true},
		{"GOGC=off", usage{}, usage{objects: 8 * mega, live: mega, free: 90 * mega, percent: -1}, 0, false},
		{"GOGC=400", usage{}, usage{objects: 14 * mega, live: 8 * mega, percent: 400}, 0, false},
		{"GOGC=400, much more", usage{}, usage{objects: 17 * mega, live: 8 * mega, percent: 400}, 0, true},
	} {
		k := keeper{was: c.was, left: c.left}
		if got := k.due(c.now, time.Now()); got != c.want {
			t.Errorf("%s: %v; want %v", c.name, got, c.want)
		}
	}
}

// It costs at most one part in share of a processor, however much there is to gain.
func TestKeeperRests(t *testing.T) {
	now := time.Now()
	u := usage{objects: 8 * mega, live: 8 * mega, free: 90 * mega, percent: 100}
	var k keeper
	if !k.due(u, now) {
		t.Fatal("nothing due although there is much to gain")
	}
	const cost = 100 * time.Millisecond
	k.gave(usage{percent: 100}, cost, now)
	if k.due(u, now.Add(share*cost-1)) {
		t.Errorf("due again within %v", share*cost)
	}
	if !k.due(u, now.Add(share*cost)) {
		t.Errorf("not due again after %v", share*cost)
	}
}

// What the runtime says is what the keeper thinks it is, and giving back brings it.
func TestKeeperGivesBack(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	if u := readUsage(); u.percent >= 0 {
		t.Errorf("GOGC is %d; want it off", u.percent)
	}
	var all [][]byte
	for range 64 {
		all = append(all, make([]byte, mega))
	}
	runtime.KeepAlive(all)
	debug.SetGCPercent(100)
	var before usage
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		before = readUsage()
		go func() {
			defer close(ended)
			keepMemory(ctx, slog.New(slog.DiscardHandler))
		}()
		time.Sleep(2*lookEvery + 1)
		stop()
		<-ended
	})
	if after := readUsage(); before.gain() < 32*mega || after.gain() > before.gain()/2 {
		t.Errorf("there was %d MiB to gain, and is %d now", before.gain()/mega, after.gain()/mega)
	}
}

func BenchmarkLook(b *testing.B) {
	var k keeper
	for b.Loop() {
		k.due(readUsage(), time.Time{})
	}
}
