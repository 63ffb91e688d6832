package resumable

import (
	"math/rand/v2"
	"slices"
	"time"

	"sidecar/protocol/resume/wire"
)

const (
	besideStream = 4 * time.Second // and its head start; behind that an opening does not wait for its stream alone

	shortLife = time.Second  // a carrier in use that lived for less was cut,
	worthIt   = 64 << 10     // unless so many bytes of messages got across since the last was lost
	freeCuts  = 3            // so many cuts in a row cost no pause
	tolerable = freeCuts + 2 // and no more are counted where anything got across: pauses of 1 s at most
)

// raceLocked begins the carriers whose time has come.
func (c *Conn) raceLocked(now time.Time) (next time.Time) {
	next = now.Add(openLimit)
	c.keep.todo = slices.DeleteFunc(c.keep.todo, func(kind wire.Kind) bool {
		if due := c.dueLocked(kind, now); now.Before(due) {
			next = earlier(next, due)
			return false
		}
		c.beginLocked(kind, now)
		return true
	})
	if alone := c.aloneLocked(); now.Before(alone) {
		next = earlier(next, alone) // the race may be over then
	}
	return next
}

// ranLocked says that a race is over without a carrier. An opening waits for all of them.
// With a session there, those that may hang are not waited for once they have had their
// head start: they go on, and whatever failed is tried again beside them.
func (c *Conn) ranLocked(now time.Time) bool {
	if c.welcome == nil {
		return len(c.carriers) == 0
	}
	return !now.Before(c.aloneLocked()) && len(c.idleLocked(now)) > 0
}

// reachedLocked: the race is over, and was won, however soon k may be lost again.
func (c *Conn) reachedLocked(k *carrier) {
	p := &c.keep
	p.racing, p.todo, p.retryAt, p.errs = false, nil, time.Time{}, nil
	p.away, p.last = time.Time{}, k.kind
}

// retryLocked is when the next race begins (§11.3).
func (c *Conn) retryLocked(now time.Time) time.Time {
	p := &c.keep
	at, failures := now, p.failures()
	if failures > 0 {
		at = now.Add(random(backoff(c.o.MinBackoff, c.o.MaxBackoff, failures)))
	}
	if p.leaving { // a server whose time is nearly up may say so to each who comes back
		p.leaving = false
		at = later(at, now.Add(random(p.leave)))
	}
	return later(at, p.notBefore)
}

// failures are how often there was no success in a row: races that brought none, and
// carriers that did not live, of which the first three are bad luck.
func (p *keeper) failures() int { return max(p.tries, p.cuts-freeCuts) }

func backoff(least, most time.Duration, tries int) time.Duration {
	d := least
	for i := 1; i < tries && d < most; i++ {
		d *= 2
	}
	return min(d, most)
}

func random(d time.Duration) time.Duration { return rand.N(d + 1) }

// orderLocked is the race: what worked last comes first.
func (c *Conn) orderLocked(now time.Time) []wire.Kind {
	noWebSocket, noStream := c.o.Memory.known(c.ws.Host, now)
	var kinds []wire.Kind
	add := func(k wire.Kind) {
		if slices.Contains(c.o.Transports, Transport(k)) {
			kinds = append(kinds, k)
		}
	}
	add(wire.WebSocket)
	add(wire.Stream)
	add(wire.Poll)
	if len(kinds) > 1 && noWebSocket {
		kinds = slices.DeleteFunc(kinds, func(k wire.Kind) bool { return k == wire.WebSocket })
	}
	if len(kinds) > 1 && noStream && slices.Contains(kinds, wire.Poll) {
		kinds = slices.DeleteFunc(kinds, func(k wire.Kind) bool { return k == wire.Stream })
	}
	if i := slices.Index(kinds, c.keep.last); i > 0 {
		kinds = slices.Insert(slices.Delete(kinds, i, i+1), 0, c.keep.last)
	}
	if noWebSocket && !slices.Contains(kinds, wire.WebSocket) {
		add(wire.WebSocket)
	}
	if c.welcome == nil && slices.Contains(kinds, wire.WebSocket) {
		kinds = append(kinds, kindPlain)
	}
	return kinds
}

// idleLocked is the order of those kinds of which no carrier lives.
func (c *Conn) idleLocked(now time.Time) []wire.Kind {
	return slices.DeleteFunc(c.orderLocked(now), c.aliveLocked)
}

// dueLocked is when the next of a race begins (§11.1). A poll is for where a stream of the
// same race was given up; one of an earlier race hangs, and so may one of an opening.
func (c *Conn) dueLocked(kind wire.Kind, now time.Time) time.Time {
	never := now.Add(openLimit)
	switch {
	case len(c.carriers) == 0:
		return now
	case kind == kindPlain:
		return never
	case kind == wire.Poll && c.bornSinceLocked(wire.Stream, c.keep.since):
		if c.welcome == nil { // it may have begun, and wait for the backend, or be stuck
			return c.aloneLocked().Add(besideStream)
		}
		return never
	case c.welcome == nil:
		return c.keep.since.Add(c.headStartLocked())
	}
	return c.aloneLocked()
}

// aloneLocked is until when the last that was begun is left alone; zero where none was.
func (c *Conn) aloneLocked() (until time.Time) {
	for _, k := range c.carriers {
		if end := k.begun.Add(c.headStartLocked()); end.After(until) {
			until = end
		}
	}
	return until
}

// headStartLocked is how long a carrier of a race is alone before the next begins.
func (c *Conn) headStartLocked() time.Duration {
	if c.rtt == 0 {
		return time.Second
	}
	return min(max(8*c.rtt, 500*time.Millisecond), 2*time.Second)
}

func (c *Conn) aliveLocked(kind wire.Kind) bool { return c.bornSinceLocked(kind, time.Time{}) }

func (c *Conn) bornSinceLocked(kind wire.Kind, since time.Time) bool {
	return slices.ContainsFunc(c.carriers, func(k *carrier) bool { return k.kind == kind && !k.begun.Before(since) })
}

// cutLocked counts a carrier in use that was lost, at that age. One that is cut behind its
// WELCOME may have brought a frame, which says that all is well: so the next would be made
// at once, for ever. Where messages get across all the same it is worth it.
func (c *Conn) cutLocked(age time.Duration) {
	p, across := &c.keep, c.out.across()+c.in.took
	p.cuts++
	switch brought := across - p.across; {
	case age >= shortLife || brought >= worthIt:
		p.cuts = 0
	case brought > 0:
		p.cuts = min(p.cuts, tolerable)
	}
	p.across = across
}
