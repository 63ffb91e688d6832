package session

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// numbered is a fake protocol that acknowledges by number and resumes: its server.
type numbered struct {
	trial *trial
	j     *judge

	mu         sync.Mutex
	generation int
}

const (
	serverPatience = 30 * time.Second // of a server that hears nothing
	clientPatience = 12 * time.Second
	beat           = 5 * time.Second
)

// serve is a carrier: it reads what the client sends, and another goroutine is
// the one that writes.
func (n *numbered) serve(l *link) {
	defer n.trial.wg.Done()
	wake, say, done := make(chan struct{}, 1), make(chan frame, 1000), make(chan struct{})
	w := &writer{n: n, l: l, wake: wake, say: say}
	n.trial.wg.Add(1)
	go w.run(done)
	defer close(done)
	defer close(l.up.gone)
	for {
		timer := time.NewTimer(serverPatience)
		select {
		case f, ok := <-l.up.out:
			timer.Stop()
			if !ok || !n.hear(w, f) {
				return
			}
		case <-timer.C:
			return
		case <-n.trial.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// hear does what a client's frame asks for, and reports whether to go on.
func (n *numbered) hear(w *writer, f frame) bool {
	switch f.kind {
	case "hello":
		if n.newer(f.generation) {
			n.j.Ack(f.n) // it may be late, and less than was acknowledged since
		}
		w.speak(frame{kind: "welcome", n: n.j.Received(), low: n.j.Acknowledged() + 1})
	case "resume":
		return n.attach(w, f.generation, func(wake func()) (puller, error) { return n.j.Resume(f.n, wake) })
	case "use":
		return n.attach(w, f.generation, n.j.Replace)
	case "data", "close":
		var received uint64
		var err error
		if f.kind == "data" {
			received, err = n.j.Send(n.trial.ctx, f.n, f.m)
		} else {
			received, err = n.j.SendClose(n.trial.ctx, f.n, bye)
		}
		w.speak(frame{kind: "ack", n: received})
		return !errors.Is(err, ErrEnded)
	case "ack":
		if err := n.j.Ack(f.n); err != nil && !errors.Is(err, ErrEnded) {
			n.trial.wrong("the ack of a healthy client: %v", err)
		}
	case "ping":
		w.speak(frame{kind: "pong"})
	}
	return true
}

func (n *numbered) newer(generation int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return generation >= n.generation
}

// attach gives a carrier the reader, unless a newer one has or had it.
func (n *numbered) attach(w *writer, generation int, how func(func()) (puller, error)) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if generation <= n.generation {
		return generation == n.generation // it came twice
	}
	w.mu.Lock() // wake may come before the reader is there
	defer w.mu.Unlock()
	r, err := how(func() {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	})
	switch {
	case errors.Is(err, ErrEnded):
		w.speak(frame{kind: "gone"})
		return true
	case err != nil:
		n.trial.wrong("resuming a healthy client: %v", err)
		return false
	}
	n.generation = generation
	w.speak(frame{kind: "welcome", n: n.j.Received(), low: n.j.Acknowledged() + 1})
	w.reader = r
	select {
	case w.wake <- struct{}{}: // take first
	default:
	}
	return true
}

// A writer is the one that writes to a link.
type writer struct {
	n    *numbered
	l    *link
	wake chan struct{}
	say  chan frame

	mu     sync.Mutex
	reader puller
}

// speak has a frame written, if there are not too many: they may be lost.
func (w *writer) speak(f frame) {
	select {
	case w.say <- f:
	default:
	}
}

func (w *writer) run(done <-chan struct{}) {
	defer w.n.trial.wg.Done()
	defer close(w.l.down.left)
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.reader != nil {
			w.reader.Close()
		}
	}()
	var buf []Message
	for {
		select {
		case f := <-w.say:
			w.l.down.send(f)
		case <-w.wake:
			if buf = w.drain(buf); buf == nil {
				return
			}
		case <-done:
			return
		}
	}
}

// drain writes all that there is. It returns nil where there will be no more.
func (w *writer) drain(buf []Message) []Message {
	w.mu.Lock()
	r := w.reader
	w.mu.Unlock()
	for {
		b, err := r.Take(buf, 3000)
		switch {
		case errors.Is(err, ErrEnded):
			w.l.down.send(frame{kind: "gone"})
			return nil
		case err != nil || len(b.Messages) == 0 && b.Close == nil: // replaced, it still acknowledges
			return append(buf[:0], Message{})
		}
		for i, m := range b.Messages {
			w.l.down.send(frame{kind: "data", n: b.First + uint64(i), m: m})
		}
		if b.Close != nil {
			w.l.down.send(frame{kind: "close", n: b.Last()})
		}
		buf = b.Messages
	}
}

// converse runs a client of the numbered protocol to its end.
func (t *trial) converse(p plan, name string, rng *rand.Rand) {
	j, b := t.open(p, name)
	if j == nil {
		return
	}
	c := &client{
		trial: t, server: &numbered{trial: t, j: j}, rng: rng, plan: p,
		up: b.up, down: b.down, says: rng.IntN(40), doubled: rng.IntN(2) == 0,
		inbox: make(chan letter),
	}
	c.run()
	if c.end != "close" || p.failsAt > 0 || p.closes {
		t.h.Told(name, c.end) // or it was the backend that would hear no more
	}
}

// A letter is a frame that has come by a link; ok is false for the link's end.
type letter struct {
	from *link
	f    frame
	ok   bool
}

func (t *trial) forward(l *link, inbox chan<- letter) {
	defer t.wg.Done()
	for {
		var v letter
		select {
		case f, ok := <-l.down.out:
			v = letter{l, f, ok}
		case <-l.down.gone:
			return
		case <-t.ctx.Done():
			return
		}
		select {
		case inbox <- v:
		case <-l.down.gone:
			return
		case <-t.ctx.Done():
			return
		}
		if !v.ok {
			return
		}
	}
}
