package resumable

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/protocol/resume/wire"
)

// Faults of all kinds, one after the other as a seed says, under traffic both ways: no
// message is lost, doubled or in another's place.
func TestRandomFaults(t *testing.T) {
	schedules := 60
	if testing.Short() {
		schedules = 10
	}
	first := rand.Uint64()
	for i := range uint64(schedules) {
		if seed := first + i; !t.Failed() {
			synctest.Test(t, func(t *testing.T) { randomFaults(t, seed) })
			if t.Failed() {
				t.Errorf("with seed %d", seed)
			}
		}
	}
}

func randomFaults(t *testing.T, seed uint64) {
	chance := rand.New(rand.NewPCG(seed, 1))
	r := newRig(t, nil)
	kinds := [][]Transport{{WebSocket}, {Stream}, {Poll}, {WebSocket, Stream, Poll}, {WebSocket, Poll}, {Stream, Poll}}
	c := r.open(r.options(kinds[chance.IntN(len(kinds))]...))
	const n = 60
	var stops []int
	for i := range n {
		if chance.IntN(4) == 0 {
			stops = append(stops, i)
		}
	}
	r.numbered(c, n, stops, func(int) { r.suffer(c, chance) })
	if s := r.f.only(); s.got != n {
		t.Errorf("the backend got %d messages; want %d", s.got, n)
	}
}

// suffer is one fault, which is over when it returns or soon after.
func (r *rig) suffer(c *Conn, chance *rand.Rand) {
	pause := time.Duration(chance.IntN(5000)) * time.Millisecond
	kinds := []wire.Kind{wire.WebSocket, wire.Stream, wire.Poll, wire.Send}
	switch chance.IntN(6) {
	case 0:
		r.cut()
	case 1:
		r.breakDown(errors.New("no network"))
		r.cut()
		time.Sleep(pause)
		r.breakDown(nil)
	case 2:
		r.blackhole(true)
		time.Sleep(pause)
		r.cut()
		r.blackhole(false)
	case 3:
		c.CheckNetwork()
	case 4: // one kind is refused for a while
		kind := kinds[chance.IntN(len(kinds))]
		r.f.set(kind, refused)
		time.Sleep(pause)
		r.cut()
		time.Sleep(pause)
		r.f.set(kind, nil)
	case 5: // a request's answer is lost
		kind := kinds[1+chance.IntN(3)]
		r.f.set(kind, func(w http.ResponseWriter, q *http.Request) bool {
			r.f.set(kind, nil)
			r.f.ServeHTTP(&lostAnswer{header: http.Header{}}, q)
			panic(http.ErrAbortHandler)
		})
	}
}

// A lostAnswer goes nowhere, and its writer does not know.
type lostAnswer struct{ header http.Header }

func (l *lostAnswer) Header() http.Header         { return l.header }
func (l *lostAnswer) WriteHeader(int)             {}
func (l *lostAnswer) Write(p []byte) (int, error) { return len(p), nil }
func (l *lostAnswer) Flush()                      {}
