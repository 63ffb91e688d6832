package session

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
)

// seed begins a random test; E2E_SEED replays one.
func seed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("E2E_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("%s: E2E_SEED=%d\n", t.Name(), seed) // a timeout would swallow a t.Log
	return seed
}

// long reports whether this is the long run (./test/run --long), which is without
// the race detector.
func long() bool { return os.Getenv("E2E_LONG") != "" && !raceDetector }

// many is how many schedules to run: some in every run, many in the long one.
func many(some, many int) int {
	if long() {
		return many
	}
	return some
}

// drive makes random calls of sessions and their models. It is called in a bubble.
func drive(pick chance, steps int, f fault) (w *world) {
	w = &world{pick: pick, fault: f}
	if w.pick.IntN(2) == 0 {
		w.all.Memory = int64(4+w.pick.IntN(12)) << 10
		w.all.EvictAway = w.pick.IntN(2) == 0
	}
	for range steps {
		if w.step(); w.err != nil {
			break
		}
	}
	w.finish()
	return w
}

func (w *world) story() string {
	return fmt.Sprintf("%v\nafter: %s", w.err, strings.Join(w.log[max(0, len(w.log)-12):], ", "))
}

func TestModel(t *testing.T) {
	seed := seed(t)
	for i := range many(1500, 50_000) {
		synctest.Test(t, func(t *testing.T) {
			if w := drive(rand.New(rand.NewPCG(seed, uint64(i))), 120, fault{}); w.err != nil {
				t.Fatalf("seed %d, schedule %d: %s", seed, i, w.story())
			}
		})
	}
}
