package certs

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// A clock that is set ahead, or a machine that slept, ends a response early for us, who
// had meant to ask long after that. Then it is asked soon, but not for ever again.
func TestAClockThatJumpsEndsAStaple(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		r := &responder{say: func(_ context.Context, serial int64) (int, []byte, error) {
			return http.StatusOK, i.answer(t, serial, week), nil
		}}
		h, _ := staples(t, r)
		h.put("a.example", i.leaf(t, 7, 13*week, at))
		synctest.Wait()
		if h.stapled() == nil {
			t.Fatal("nothing is stapled at first")
		}
		h.mu.Lock()
		h.staples["a.example"].end = time.Now().Add(-time.Second) // as it looks after the jump
		h.mu.Unlock()
		if h.stapled() != nil {
			t.Error("a handshake before the stapler has seen it gets what is over")
		}
		time.Sleep(3 * retryFirst)
		if n := r.asked.Load(); h.stapled() == nil || n != 2 {
			t.Errorf("stapled %v after %d questions; want a response by the second", h.stapled() != nil, n)
		}
	})
}

// A responder whose responses are over at once is not asked more often than others.
func TestResponsesThatLastASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		r := &responder{say: func(_ context.Context, serial int64) (int, []byte, error) {
			return http.StatusOK, i.answer(t, serial, time.Second), nil
		}}
		h, _ := staples(t, r)
		h.put("a.example", i.leaf(t, 7, 13*week, at))
		time.Sleep(time.Hour - time.Second) // at its end there may be one more
		if n := r.asked.Load(); n < 30 || n > 60 {
			t.Errorf("asked %d times in an hour; want about one a minute", n)
		}
	})
}
