package resumable

import (
	"errors"
	"fmt"
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
	since     time.Time       // of the race
	todo      []wire.Kind     // that are not begun yet
	errs      []*carrierError // of the opening: the last of each kind
	met       bool            // a server of this protocol answered, whatever became of it
	tries     int             // races in a row that failed
	cuts      int             // carriers in a row that were cut when they had just come into use
	across    uint64          // what messages got across until the last was lost
	retryAt   time.Time       // for the next
	notBefore time.Time       // what a server asked for
	last      wire.Kind       // that worked
	wsFailed  bool            // with HTTP working then, WebSocket is blocked
	mute      bool            // a stream was held back
	late      bool            // a stream failed behind its head start: a poll has its turn first
	silent    int             // streams in a row of which nothing came but the WELCOME
	probed    time.Time       // when a WebSocket was begun last
	leaving   bool            // a GOAWAY came
	leave     time.Duration
	away      time.Time // since when there is no carrier; zero: there is one
	why       error     // what ended the last carrier
	told      Transport // by OnTransport
	lastWords time.Time // until when carriers live on behind the end
	ackWaits  bool
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
	pause := is == None && c.err == nil && c.keep.failures() == 0 && errors.Is(why, errRotated) // of no interest
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

func later(a, b time.Time) time.Time {
	if b.After(a) {
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
		p.racing, p.since, p.retryAt, p.todo = true, now, time.Time{}, c.idleLocked(now)
	}
	if next = earlier(end, c.raceLocked(now)); !c.ranLocked(now) {
		return next
	}
	p.racing = false
	if p.tries++; c.welcome == nil {
		c.unreachableLocked()
	}
	return now
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
	for _, k := range c.carriers {
		c.keep.note(k.kind, errNoAnswer)
	}
	var all []error
	for _, err := range c.keep.errs {
		all = append(all, err)
	}
	c.endLocked(fmt.Errorf("%w: %w", ErrUnreachable, errors.Join(all...)), 0)
}
