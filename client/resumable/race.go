package resumable

import (
	"errors"
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
	next = c.againLocked(now)
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

// againLocked has an opening try again, by back-off, what failed beside carriers that hang:
// it would fail with them, for the one bad answer of a server that starts.
func (c *Conn) againLocked(now time.Time) (next time.Time) {
	p, next := &c.keep, now.Add(openLimit)
	if c.welcome != nil || len(c.carriers) == 0 {
		return next
	}
	failed := slices.DeleteFunc(c.idleLocked(now), func(kind wire.Kind) bool { return slices.Contains(p.todo, kind) })
	switch alone := c.aloneLocked(); {
	case len(failed) == 0:
		return next
	case now.Before(alone):
		return alone
	case p.retryAt.IsZero():
		p.tries++
		p.retryAt = c.retryLocked(now)
	}
	if now.Before(p.retryAt) {
		return earlier(next, p.retryAt)
	}
	p.todo, p.retryAt = append(failed, p.todo...), time.Time{}
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
	p.away, p.last, p.late = time.Time{}, k.kind, false
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
	if i, j := slices.Index(kinds, wire.Stream), slices.Index(kinds, wire.Poll); c.keep.late && i >= 0 && i < j {
		kinds[i], kinds[j] = wire.Poll, wire.Stream
	}
	if noWebSocket && !slices.Contains(kinds, wire.WebSocket) {
		add(wire.WebSocket)
	}
	if c.welcome == nil && slices.Contains(kinds, wire.WebSocket) {
		kinds = append(kinds, kindPlain)
	}
	return kinds
}

// idleLocked is the order of those kinds of which no carrier lives, and that have not said
// no to this opening.
func (c *Conn) idleLocked(now time.Time) []wire.Kind {
	return slices.DeleteFunc(c.orderLocked(now), func(kind wire.Kind) bool {
		return c.aliveLocked(kind) || c.welcome == nil && c.keep.no(kind)
	})
}

// note keeps what the last carrier of each kind met.
func (p *keeper) note(kind wire.Kind, err error) {
	p.errs = slices.DeleteFunc(p.errs, func(e *carrierError) bool { return e.kind == kind })
	p.errs = append(p.errs, &carrierError{kind, err})
}

// no says that a kind is not to be tried again in an opening: who answers is no sidecar, or
// takes none of it, or holds it back. A plain WebSocket is tried once.
func (p *keeper) no(kind wire.Kind) bool {
	return slices.ContainsFunc(p.errs, func(e *carrierError) bool {
		s := (*statusError)(nil)
		lasts := kind == kindPlain || errors.Is(e.err, errMute) || errors.As(e.err, &s) && !s.passes()
		return e.kind == kind && lasts
	})
}

// dueLocked is when the next of a race begins (§11.1). A poll is for where a stream of the
// same race was given up; one of an earlier race hangs, and so may one of an opening.
func (c *Conn) dueLocked(kind wire.Kind, now time.Time) time.Time {
	never := now.Add(openLimit)
	switch {
	case kind == kindPlain && c.keep.met:
		return never
	case len(c.carriers) == 0:
		return now
	case kind == kindPlain && !c.keep.no(wire.WebSocket):
		return never
	case kind == kindPlain: // what lives may be a POST that an application leaves without an answer
		return c.aloneLocked().Add(besideStream)
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
	p, across := &c.keep, c.acrossLocked()
	p.cuts++
	switch brought := across - p.across; {
	case age >= shortLife || brought >= worthIt:
		p.cuts = 0
	case brought > 0:
		p.cuts = min(p.cuts, tolerable)
	}
	p.across = across
}
