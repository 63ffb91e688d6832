package session

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sidecar/test/history"
)

// written is a fake protocol of Engine.IO's and SockJS's kind: a client polls or
// reads a stream, what was written to it is delivered, and what it posts comes in
// order. It cannot resume: an answer that is lost ends the session.
type written struct {
	trial *trial
	j     *judge
	plan  plan
	up    history.Stream
	down  history.Stream
	most  int // batches in one answer; a poll has one

	mu     sync.Mutex
	lost   bool // an answer was
	closed bool // the backend's close has come
}

// over reports whether the client has nothing to wait for any more.
func (w *written) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost || w.closed
}

// get is a GET at the server: it is held until there is something to say.
func (w *written) get(rng *rand.Rand) error {
	wake := make(chan struct{}, 1)
	r, err := w.j.Attach(func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer r.Close()
	held := time.NewTimer(25 * time.Second)
	defer held.Stop()
	for said := 0; said < w.most; {
		b, err := r.Take(nil, 4000)
		if err != nil {
			return err
		}
		if len(b.Messages) == 0 && b.Close == nil {
			select {
			case <-wake:
			case <-held.C:
				return nil
			case <-w.trial.ctx.Done():
				return nil
			}
			continue
		}
		if err := w.carry(b, rng); err != nil {
			return err // not acknowledged, it is kept for the next
		}
		said++
		if err := w.j.Ack(b.Last()); err != nil {
			return err
		}
	}
	return nil
}

// carry is the network: an answer arrives, or does not, or is lost after the
// server had written it.
func (w *written) carry(b Batch, rng *rand.Rand) error {
	w.trial.rest(ms(rng, 100))
	fate := rng.IntN(100)
	if fate == 0 && !w.plan.steady {
		return errors.New("the client has gone")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if fate == 1 && !w.plan.steady || w.lost {
		w.lost = true
		return nil
	}
	for _, m := range b.Messages {
		w.trial.h.Receive(w.down, m.Data)
	}
	w.closed = w.closed || b.Close != nil
	return nil
}

// poll gets until the session ends.
func (w *written) poll(rng *rand.Rand) {
	pause := []int{0, 100, 2000}[rng.IntN(3)]
	for !w.over() {
		switch err := w.get(rng); {
		case errors.Is(err, ErrEnded):
			return
		case errors.Is(err, ErrBusy): // the other one is being held
			w.trial.rest(time.Second)
		}
		if !w.trial.rest(time.Millisecond + ms(rng, pause)) { // the way there takes time, whatever the fault
			return
		}
	}
}

// post says what the client has to say, and closes.
func (w *written) post(rng *rand.Rand) {
	for left := rng.IntN(40); left > 0 && !w.over(); {
		var all []Message
		for range 1 + rng.IntN(min(left, 5)) {
			all = append(all, Message{Data: w.trial.h.Send(w.up, 40+rng.IntN(1000))})
		}
		left -= len(all)
		before := w.j.Received()
		if got, err := w.j.Send(w.trial.ctx, 0, all...); err != nil {
			return // it is being closed
		} else if got != before+uint64(len(all)) {
			w.trial.wrong("posting %d after %d: received %d", len(all), before, got)
		}
		w.trial.rest(ms(rng, 1000))
	}
	if !w.plan.closes {
		w.j.SendClose(w.trial.ctx, 0, bye)
	}
}

// correspond runs a client of the written protocol to its end.
func (t *trial) correspond(p plan, name string, rng *rand.Rand) {
	j, b := t.open(p, name)
	if j == nil {
		return
	}
	w := &written{trial: t, j: j, plan: p, up: b.up, down: b.down, most: []int{1, 50}[rng.IntN(2)]}
	var wg sync.WaitGroup
	for range 1 + rng.IntN(2) { // one GET too many now and then
		rng := t.chance()
		wg.Go(func() { w.poll(rng) })
	}
	posts := t.chance()
	wg.Go(func() { w.post(posts) })
	wg.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed || p.closes || p.failsAt > 0 {
		t.h.Told(name, "it is over")
	}
	j.End(Left, bye)
}

// Clients for which written is delivered.
func TestWrittenSchedules(t *testing.T) { schedules(t, (*trial).correspond, 600, 20_000) }
