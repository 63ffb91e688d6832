package session

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// A fault is planted between a session and those who use it: before it, where
// protocols are, or behind it, where the backend is.
type fault struct {
	name    string
	core    func(core) core
	backend func(Backend) Backend
}

func (f fault) before(c core) core {
	if f.core == nil {
		return c
	}
	return f.core(c)
}

func (f fault) behind(b Backend) Backend {
	if f.backend == nil {
		return b
	}
	return f.backend(b)
}

// A bad core is a session that differs by some of its methods.
type bad struct {
	core
	mu           sync.Mutex
	calls        int
	every        int // which calls go wrong
	deliver      func(c core, m Message) bool
	deliverClose func(c core, x Close)
	send         func(c core, first uint64, all []Message) (uint64, error)
	sendClose    func(c core, n uint64, x Close) (uint64, error)
	ack          func(c core, n uint64) error
	attach       func(c core, wake func()) (puller, error)
	resume       func(c core, n uint64, wake func()) (puller, error)
	wake         func(wake func())
	take         func(p puller, buf []Message, most int64) (Batch, error)
	leave        func(p puller)
	end          func(c core, why Reason, x Close)
}

// now reports whether this call is one of those that go wrong.
func (b *bad) now() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	return b.calls%max(b.every, 1) == 0
}

func (b *bad) Deliver(m Message) bool {
	if b.deliver != nil && b.now() {
		return b.deliver(b.core, m)
	}
	return b.core.Deliver(m)
}

func (b *bad) DeliverClose(x Close) {
	if b.deliverClose != nil && b.now() {
		b.deliverClose(b.core, x)
		return
	}
	b.core.DeliverClose(x)
}

func (b *bad) Send(ctx context.Context, first uint64, all ...Message) (uint64, error) {
	if b.send != nil && b.now() {
		return b.send(b.core, first, all)
	}
	return b.core.Send(ctx, first, all...)
}

func (b *bad) SendClose(ctx context.Context, n uint64, x Close) (uint64, error) {
	if b.sendClose != nil && b.now() {
		return b.sendClose(b.core, n, x)
	}
	return b.core.SendClose(ctx, n, x)
}

func (b *bad) Ack(n uint64) error {
	if b.ack != nil && b.now() {
		return b.ack(b.core, n)
	}
	return b.core.Ack(n)
}

func (b *bad) End(why Reason, x Close) {
	if b.end != nil && b.now() {
		b.end(b.core, why, x)
		return
	}
	b.core.End(why, x)
}

func (b *bad) reader(p puller, err error) (puller, error) {
	if err != nil || b.take == nil && b.leave == nil {
		return p, err
	}
	return &badReader{p, b}, nil
}

func (b *bad) waker(wake func()) func() {
	if b.wake == nil {
		return wake
	}
	return func() {
		if b.now() {
			b.wake(wake)
		} else {
			wake()
		}
	}
}

func (b *bad) Attach(wake func()) (puller, error) {
	if b.attach != nil && b.now() {
		return b.reader(b.attach(b.core, b.waker(wake)))
	}
	return b.reader(b.core.Attach(b.waker(wake)))
}

func (b *bad) Resume(n uint64, wake func()) (puller, error) {
	if b.resume != nil && b.now() {
		return b.reader(b.resume(b.core, n, b.waker(wake)))
	}
	return b.reader(b.core.Resume(n, b.waker(wake)))
}

func (b *bad) Replace(wake func()) (puller, error) {
	if b.resume != nil && b.now() {
		return b.reader(b.resume(b.core, b.core.Acknowledged(), b.waker(wake)))
	}
	return b.reader(b.core.Replace(b.waker(wake)))
}

type badReader struct {
	puller
	b *bad
}

func (r *badReader) Take(buf []Message, most int64) (Batch, error) {
	if r.b.take != nil && r.b.now() {
		return r.b.take(r.puller, buf, most)
	}
	return r.puller.Take(buf, most)
}

func (r *badReader) Close() {
	if r.b.leave != nil && r.b.now() {
		r.b.leave(r.puller)
		return
	}
	r.puller.Close()
}

// A badBackend is one that differs by some of its methods.
type badBackend struct {
	Backend
	calls, every int
	write        func(b Backend, m Message) error
	close        func(b Backend, c Close)
	room         func(b Backend)
}

func (b *badBackend) now() bool { b.calls++; return b.calls%max(b.every, 1) == 0 }

func (b *badBackend) Write(m Message) error {
	if b.write != nil && b.now() {
		return b.write(b.Backend, m)
	}
	return b.Backend.Write(m)
}

func (b *badBackend) Close(c Close) {
	if b.close != nil {
		b.close(b.Backend, c)
		return
	}
	b.Backend.Close(c)
}

func (b *badBackend) Room() {
	if b.room != nil {
		b.room(b.Backend)
		return
	}
	b.Backend.Room()
}

func before(name string, every int, make func(b *bad)) fault {
	return fault{name: name, core: func(c core) core {
		b := &bad{core: c, every: every}
		make(b)
		return b
	}}
}

func behind(name string, every int, make func(b *badBackend)) fault {
	return fault{name: name, backend: func(inner Backend) Backend {
		b := &badBackend{Backend: inner, every: every}
		make(b)
		return b
	}}
}

func flip(m Message) Message {
	m.Data = bytes.Clone(m.Data)
	m.Data[len(m.Data)/2] ^= 1
	return m
}

// By each of these the judges must see that they see.
func TestPlantedFaults(t *testing.T) {
	seed := seed(t)
	courts := []struct {
		name string
		try  func(t *testing.T, n uint64, f fault) error
	}{
		{"model", func(t *testing.T, n uint64, f fault) (err error) {
			synctest.Test(t, func(t *testing.T) { err = drive(rand.New(rand.NewPCG(seed, n)), 120, f).err })
			return err
		}},
		{"numbered", func(t *testing.T, n uint64, f fault) error { return try(t, seed, n, (*trial).converse, f).err }},
		{"written", func(t *testing.T, n uint64, f fault) error { return try(t, seed, n, (*trial).correspond, f).err }},
	}
	some := many(10, 100)
	for _, c := range courts {
		if n := caught(t, c.try, fault{}, 0, some); n > 0 {
			t.Fatalf("seed %d: %s finds a fault where none is planted, by schedule %d", seed, c.name, n-1)
		}
	}
	for _, f := range planted() {
		var by []string
		for _, c := range courts {
			if n := caught(t, c.try, f, 0, some); n > 0 {
				by = append(by, c.name)
			}
		}
		for _, c := range courts { // what goes wrong seldom needs more
			if len(by) == 0 && caught(t, c.try, f, some, 40*some) > 0 {
				by = append(by, c.name)
			}
		}
		if t.Logf("%s: caught by %s", f.name, strings.Join(by, ", ")); len(by) == 0 {
			t.Errorf("seed %d: %s: not caught", seed, f.name)
		}
	}
}

// caught is the schedule that caught f, of those from one to another, counted from
// 1; 0: none did.
func caught(t *testing.T, try func(t *testing.T, n uint64, f fault) error, f fault, from, to int) int {
	for n := from; n < to; n++ {
		if err := try(t, uint64(n), f); err != nil {
			return n + 1
		}
	}
	return 0
}
