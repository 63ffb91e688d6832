package session

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/test/history"
)

// outcome is what became of a trial.
type outcome struct {
	err      error
	report   history.Report
	sessions int
	closed   int // of them, by a close that the client got
	expired  int
}

func (o *outcome) add(other outcome) {
	o.report.Sent += other.report.Sent
	o.report.Lost += other.report.Lost
	o.sessions += other.sessions
	o.closed += other.closed
	o.expired += other.expired
}

// speaks is a protocol's client: it converses to its end, and then is done.
type speaks func(t *trial, p plan, name string, rng *rand.Rand)

// try runs one trial in a bubble.
func try(tt *testing.T, seed, n uint64, protocol speaks, f fault) (o outcome) {
	synctest.Test(tt, func(tt *testing.T) {
		ctx, cancel := context.WithCancel(tt.Context())
		t := &trial{ctx: ctx, fault: f, rng: rand.New(rand.NewPCG(seed, n))}
		stop := make(chan struct{})
		t.wg.Add(1)
		go t.watch(stop, cancel)
		t.run(protocol)
		close(stop)
		cancel()
		t.wg.Wait()
		o = t.outcome()
	})
	return o
}

// run has clients converse, and gives the sessions time to end.
func (t *trial) run(protocol speaks) {
	rng := t.chance()
	if rng.IntN(4) == 0 {
		t.all.Memory = 6 << 10
	}
	var clients sync.WaitGroup
	for i := range 1 + rng.IntN(3) {
		p := t.plan(rng)
		rng := t.chance()
		clients.Go(func() { protocol(t, p, string(rune('a'+i)), rng) })
	}
	done := make(chan struct{})
	go func() { clients.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(3 * time.Hour):
		t.wrong("the clients hang")
	}
	for range 100 { // what a link still carries counts as hearing of a client
		if t.all.Len() == 0 || !t.rest(time.Minute) {
			break
		}
	}
	t.rest(time.Second)
}

func (t *trial) outcome() outcome {
	for _, j := range t.judges {
		if j.core.Ended() == 0 {
			t.wrong("a session lives on without a client")
			j.core.End(Drained, bye)
		}
	}
	t.inspect()
	o := outcome{report: t.h.Check(), sessions: len(t.judges)}
	if !o.report.Honest() {
		t.wrong("%v", o.report)
	}
	for _, j := range t.judges {
		switch j.ended {
		case Closed:
			o.closed++
		case Expired:
			o.expired++
		}
	}
	o.err = t.failed()
	return o
}

func schedules(t *testing.T, protocol speaks, some, long int) {
	seed := seed(t)
	var all outcome
	n := many(some, long)
	for i := range n {
		o := try(t, seed, uint64(i), protocol, fault{})
		if o.err != nil {
			t.Fatalf("seed %d, schedule %d: %v", seed, i, o.err)
		}
		all.add(o)
	}
	t.Logf("seed %d: %d schedules, %d sessions, %d closed in order, %d expired; %v", seed, n, all.sessions, all.closed, all.expired, all.report)
	if all.closed < all.sessions/2 || all.closed == all.sessions || all.report.Lost > all.report.Sent/4 {
		t.Errorf("seed %d: the schedules are too hard, or too easy", seed)
	}
}

// Clients that acknowledge by number and resume, on links that die, are mute,
// late or doubled.
func TestNumberedSchedules(t *testing.T) { schedules(t, (*trial).converse, 250, 20_000) }
