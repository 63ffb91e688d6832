package certs

import (
	"context"
	"sync"
)

// A flight is work under way by name: whoever wants the same joins it.
type flight[T any] struct {
	most int // at once

	mu   sync.Mutex
	work map[string]*call[T]
	over bool
	all  sync.WaitGroup
}

// A call is work whose result many may wait for.
type call[T any] struct {
	done   chan struct{}
	result T // set before done is closed
}

// join starts do for name, unless it is under way. nil means that there is too much.
func (f *flight[T]) join(name string, do func() T) *call[T] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, found := f.work[name]; found {
		return c
	}
	if len(f.work) >= f.most || f.over {
		return nil
	}
	if f.work == nil {
		f.work = map[string]*call[T]{}
	}
	c := &call[T]{done: make(chan struct{})}
	f.work[name] = c
	f.all.Go(func() { f.carry(name, c, do) })
	return c
}

func (f *flight[T]) carry(name string, c *call[T], do func() T) {
	defer func() {
		f.mu.Lock()
		delete(f.work, name)
		f.mu.Unlock()
		close(c.done)
	}()
	c.result = do()
}

// shut lets no more work begin, and waits for what is under way.
func (f *flight[T]) shut() {
	f.mu.Lock()
	f.over = true
	f.mu.Unlock()
	f.all.Wait()
}

// wait is the result, unless ctx ends before.
func (c *call[T]) wait(ctx context.Context) (result T, ended bool) {
	select {
	case <-c.done:
		return c.result, true
	case <-ctx.Done():
		return result, false
	}
}
