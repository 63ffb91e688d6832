package resume

import (
	"context"
	"time"

	"sidecar/session"
)

// Drain ends the sessions of all handlers, as the program stops (§9.1). Each client is
// told at once when, at times that are spread; then its backend is told 1001, so that
// what that still says comes down, and a CLOSE. Half of the time between spread and
// ctx's deadline later the others are told GONE. It returns when no session is left,
// and ends those that there are when ctx is done. No session is opened behind it.
func (l *Lobby) Drain(ctx context.Context, spread time.Duration) {
	start := time.Now()
	all, empty := l.begin(start.Add(spread))
	for i, c := range all {
		c.goAway(start.Add(spread * time.Duration(i) / time.Duration(len(all))))
	}
	last := spread
	if by, ok := ctx.Deadline(); ok {
		last = max(spread, (spread+by.Sub(start))/2)
	}
	over := time.NewTimer(last)
	defer over.Stop()
	select {
	case <-empty:
	case <-over.C:
	case <-ctx.Done():
	}
	l.Close()
	for _, c := range l.list() {
		c.end(session.Drained)
	}
	select {
	case <-empty:
	case <-ctx.Done():
	}
}

// begin marks l as draining until then, and returns who is in it, and what is closed
// once nobody is.
func (l *Lobby) begin(until time.Time) (all []*client, empty chan struct{}) {
	l.mu.Lock()
	l.until, l.empty = until, make(chan struct{})
	empty = l.empty
	if len(l.clients) == 0 {
		close(l.empty)
		l.empty = nil
	}
	l.mu.Unlock()
	return l.list(), empty
}

func (l *Lobby) list() (all []*client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.clients {
		all = append(all, c)
	}
	return all
}

// add takes a client in, and returns when it is to end; zero: not soon.
func (l *Lobby) add(c *client) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clients == nil {
		l.clients = make(map[*client]struct{})
	}
	l.clients[c] = struct{}{}
	l.most = max(l.most, len(l.clients))
	return l.until
}

// remove takes one out that has ended.
func (l *Lobby) remove(c *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.clients, c)
	if len(l.clients) > 0 {
		return
	}
	if l.most > burst {
		l.clients, l.most = nil, 0 // a map does not shrink
	}
	if l.empty != nil {
		close(l.empty)
		l.empty = nil
	}
}

// burst is from how many clients on the map of them is not kept.
const burst = 1024

// goAway tells the client when the server ends its session.
func (c *client) goAway(at time.Time) {
	c.mu.Lock()
	now := time.Now()
	c.goaway = at
	c.clock.by(c, at, now)
	a := aftermath{stir: append([]*carrier(nil), c.carriers...)}
	c.mu.Unlock()
	c.do(a)
}

// depart closes the backend's connection once it is time, or ends the session if
// nobody is there to hear of it. The caller holds mu.
func (c *client) depart(now time.Time, a *aftermath) {
	switch {
	case c.goaway.IsZero() || c.parted:
	case now.Before(c.goaway):
		c.clock.by(c, c.goaway, now)
	case len(c.carriers) == 0:
		c.parted = true
		a.why = session.Drained
	default:
		c.parted = true
		a.part = true
	}
}

// leaving reports whether an answer is the last that a client can get here.
func (c *client) leaving() bool {
	f := c.handler.Leaving
	return f != nil && f()
}
