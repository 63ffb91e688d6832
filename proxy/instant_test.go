package proxy

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// Times keep their order and distance in eight bytes, on the program's clock and
// on a test's own, which begins in 2000; and no time is never.
func TestInstants(t *testing.T) {
	check := func(t *testing.T) {
		now := time.Now()
		for _, d := range []time.Duration{-time.Hour, -1, 0, 1, time.Hour, 30 * 365 * 24 * time.Hour} {
			at := now.Add(d)
			i := instantOf(at)
			if i <= 0 || !i.time().Equal(at) {
				t.Errorf("%v came back as %v (%d)", at, i.time(), i)
			}
			if i.since(now) != -d || i.reached(now) != (d <= 0) {
				t.Errorf("%v from now: since = %v, reached %v", d, i.since(now), i.reached(now))
			}
		}
		if far := instantOf(now.Add(math.MaxInt64)); far.reached(now) {
			t.Error("the farthest time was reached")
		}
	}
	check(t)
	synctest.Test(t, check)
	if never := instantOf(time.Time{}); never != 0 || !never.time().IsZero() || never.reached(time.Now()) {
		t.Errorf("never became %v", never.time())
	}
}
