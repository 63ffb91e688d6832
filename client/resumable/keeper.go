package resumable

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"sidecar/protocol/resume/wire"
)

const (
	openLimit  = 20 * time.Second // for the answer to a HELLO (§13)
	awayLimit  = time.Minute      // beyond all of the session's own times (§9.3)
	maxAlive   = 8                // carriers at once (§6.2)
	kindPlain  = wire.Kind("plain")
	tick       = 5 * time.Second // how often a jump of the clock is looked for
	rotateLead = 2 * time.Second // a stream over HTTP/2 has its successor so long before
	sinceFirst = time.Second     // a WebSocket that is thought blocked comes so long behind HTTP
)

// A keeper sees to it that there is a carrier: the race, reconnecting, and moving to
// a better one (§11). It is part of the Conn, whose mutex guards it; its goroutine is
// Conn.run.
type keeper struct {
	protocol  string
	racing    bool
	since     time.Time   // of the race
	todo      []wire.Kind // that are not begun yet
	errs      []error     // of the race
	tries     int         // races in a row that failed
	retryAt   time.Time   // for the next
	notBefore time.Time   // what a server asked for
	last      wire.Kind   // that worked
	wsFailed  bool        // with HTTP working then, WebSocket is blocked
	mute      bool        // a stream was held back
	probed    time.Time   // when a WebSocket was begun last
	leaving   bool        // a GOAWAY came
	leave     time.Duration
	away      time.Time // since when there is no carrier; zero: there is one
	why       error     // what ended the last carrier
	told      Transport // by OnTransport
	lastWords time.Time // until when carriers live on behind the end
	ackWaits  bool
	firstWS   time.Time // a WebSocket is to be begun then
}

// patient: no try within d.
func (p *keeper) patient(d time.Duration) {
	if at := time.Now().Add(d); d > 0 && at.After(p.notBefore) {
		p.notBefore = at
	}
}

// run is the keeper's goroutine: each time something changed or a time has come it
// looks at what there is, and does what is to be done.
func (c *Conn) run() {
	defer c.cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for before := time.Now(); ; {
		now := time.Now()
		if now.Round(0).Sub(before.Round(0)) > tick+jump {
			c.CheckNetwork()
		}
		before = now
		next, done := c.step(now)
		if done {
			return
		}
		timer.Reset(min(time.Until(next), tick))
		select {
		case <-c.kick:
		case <-timer.C:
		}
	}
}

// step returns when to look again.
func (c *Conn) step(now time.Time) (next time.Time, done bool) {
	c.mu.Lock()
	next, done = c.stepLocked(now)
	is, why := c.transportLocked(), c.keep.why
	pause := is == None && c.err == nil && c.keep.tries == 0 && errors.Is(why, errRotated) // of no interest
	change := is != c.keep.told && c.o.OnTransport != nil && !pause
	if change {
		c.keep.told = is
	}
	c.mu.Unlock()
	if change {
		c.o.OnTransport(is, why)
	}
	return next, done
}

func (c *Conn) stepLocked(now time.Time) (next time.Time, done bool) {
	for _, k := range slices.Clone(c.carriers) {
		if !k.proven() && !now.Before(k.limit) {
			c.lostLocked(k, errNoAnswer)
		}
	}
	if c.used == nil && c.err == nil {
		c.fallBackLocked()
	}
	switch {
	case c.err != nil:
	case c.used != nil:
		next = c.tendLocked(now)
	default:
		next = c.reachLocked(now)
	}
	if c.err != nil {
		return c.keep.lastWords, c.used == nil || !now.Before(c.keep.lastWords)
	}
	for _, k := range c.carriers {
		if !k.proven() {
			next = earlier(next, k.limit)
		}
	}
	return next, false
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// fallBackLocked moves to the best carrier that is attached, if one is.
func (c *Conn) fallBackLocked() {
	var best *carrier
	for _, k := range c.carriers {
		if k.proven() && (best == nil || rank[k.kind] > rank[best.kind]) {
			best = k
		}
	}
	if best != nil {
		c.moveLocked(best)
	}
}

// reachLocked looks for a carrier while there is none.
func (c *Conn) reachLocked(now time.Time) (next time.Time) {
	p := &c.keep
	if p.away.IsZero() {
		p.away = now
	}
	end := c.giveUpLocked()
	if !now.Before(end) {
		c.unreachableLocked()
		return now
	}
	if !p.racing {
		if p.retryAt.IsZero() {
			p.retryAt = c.retryLocked(now)
		}
		if now.Before(p.retryAt) {
			return earlier(end, p.retryAt)
		}
		p.racing, p.since, p.retryAt, p.errs, p.todo = true, now, time.Time{}, nil, c.orderLocked(now)
	}
	if next = earlier(end, c.raceLocked(now)); len(c.carriers) > 0 {
		return next
	}
	p.racing = false
	if p.tries++; c.welcome == nil {
		c.unreachableLocked()
	}
	return now
}

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
	return next
}

// giveUpLocked is when it makes no sense to go on.
func (c *Conn) giveUpLocked() time.Time {
	if w := c.welcome; w != nil {
		return c.keep.away.Add(time.Duration(w.TTL+w.Heartbeat+w.Timeout)*time.Millisecond + awayLimit)
	}
	return c.keep.away.Add(c.o.OpenTimeout)
}

func (c *Conn) unreachableLocked() {
	if c.welcome != nil {
		c.endLocked(&Gone{"expired"}, 0)
		return
	}
	if len(c.keep.errs) == 0 {
		c.keep.errs = []error{errNoAnswer}
	}
	c.endLocked(fmt.Errorf("%w: %w", ErrUnreachable, errors.Join(c.keep.errs...)), 0)
}

// retryLocked is when the next race begins (§11.3).
func (c *Conn) retryLocked(now time.Time) time.Time {
	p := &c.keep
	at := now
	switch {
	case p.leaving:
		p.leaving = false
		at = now.Add(random(p.leave))
	case p.tries > 0:
		at = now.Add(random(backoff(c.o.MinBackoff, c.o.MaxBackoff, p.tries)))
	}
	if p.notBefore.After(at) {
		return p.notBefore
	}
	return at
}

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

// dueLocked is when the next of a race begins (§11.1).
func (c *Conn) dueLocked(kind wire.Kind, now time.Time) time.Time {
	never := now.Add(openLimit)
	switch {
	case len(c.carriers) == 0:
		return now
	case kind == kindPlain:
		return never
	case kind == wire.Poll && c.aliveLocked(wire.Stream):
		return never
	}
	return c.keep.since.Add(c.headStartLocked())
}

// headStartLocked is how long the first of a race is alone.
func (c *Conn) headStartLocked() time.Duration {
	if c.rtt == 0 {
		return time.Second
	}
	return min(max(8*c.rtt, 500*time.Millisecond), 2*time.Second)
}

func (c *Conn) aliveLocked(kind wire.Kind) bool {
	return slices.ContainsFunc(c.carriers, func(k *carrier) bool { return k.kind == kind })
}
