package loop

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Random timers, removals and turns against a plain list.
func TestWheelAgreesWithAList(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var w wheel
		w.now = rng.Uint64N(1 << 40)
		timers := make([]Timer, 50)
		want := map[*Timer]uint64{}
		for range 300 {
			tm := &timers[rng.IntN(len(timers))]
			switch rng.IntN(4) {
			case 0:
				w.remove(tm)
				delete(want, tm)
			case 1:
				w.remove(tm)
				at := w.now + rng.Uint64N(1<<rng.IntN(40))
				w.add(tm, at)
				want[tm] = min(max(at, w.now+1), w.now+horizon)
			default:
				wheelTurns(t, &w, want, w.now+rng.Uint64N(1<<rng.IntN(30)))
			}
		}
		wheelTurns(t, &w, want, w.now+2*horizon)
		if len(want) > 0 {
			t.Fatalf("seed %d: %d timers never fired", seed, len(want))
		}
		for i := range w.levels {
			if w.levels[i].used != 0 {
				t.Fatalf("seed %d: level %d holds timers although all have fired", seed, i)
			}
		}
	}
}

func wheelTurns(t *testing.T, w *wheel, want map[*Timer]uint64, now uint64) {
	t.Helper()
	var fired []uint64
	w.turn(now, func(tm *Timer) {
		if at, set := want[tm]; !set || at > now || tm.set {
			t.Fatalf("fired at %d (turning to %d), set %v; want at %d", w.now, now, set, at)
		}
		fired = append(fired, want[tm])
		delete(want, tm)
	})
	if !slices.IsSorted(fired) {
		t.Fatalf("fired out of order: %v", fired)
	}
	for _, at := range want {
		if at <= now {
			t.Fatalf("a timer for %d did not fire by %d", at, now)
		}
	}
	if at, head := w.next(); head != nil && at <= now {
		t.Fatalf("next turn at %d, which is not after %d", at, now)
	}
}

func TestWheelLetsItsCallbacksChangeIt(t *testing.T) {
	var w wheel
	var again, other Timer
	count := 0
	w.add(&again, 5)
	w.add(&other, 5)
	w.turn(100, func(tm *Timer) {
		w.remove(&other) // of the same slot
		if count++; count < 10 {
			w.add(tm, w.now+7)
		}
	})
	if count != 10 || w.now != 100 {
		t.Errorf("fired %d times, now %d; want 10, 100", count, w.now)
	}
}

func BenchmarkWheel(b *testing.B) {
	var w wheel
	timers := make([]Timer, 10_000)
	for i := range timers {
		w.add(&timers[i], uint64(2000+i%100))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		t := &timers[i%len(timers)]
		w.remove(t)
		w.add(t, w.now+2000)
	}
}
