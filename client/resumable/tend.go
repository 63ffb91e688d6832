package resumable

import (
	"context"
	"errors"
	"slices"
	"time"

	"sidecar/protocol/resume/wire"
)

// tendLocked looks after the carriers while one is in use.
func (c *Conn) tendLocked(now time.Time) (next time.Time) {
	p, k := &c.keep, c.used
	if k.answered {
		c.thinLocked(k)
		if p.wsFailed && k.kind != wire.WebSocket {
			p.wsFailed = false
			c.o.Memory.block(c.ws.Host, now)
		}
	}
	next = now.Add(time.Hour)
	if p.leaving || c.out.close != nil {
		return next
	}
	if k.kind != wire.WebSocket {
		next = c.probeLocked(now)
	} else if at := k.welcomed.Add(killedSoon); now.Before(at) {
		next = at
	} else if !k.stillborn() {
		c.o.Memory.lives(c.ws.Host)
	}
	return earlier(next, c.succeedLocked(now))
}

// thinLocked drops what is not needed beside a carrier that works.
func (c *Conn) thinLocked(k *carrier) {
	for _, other := range slices.Clone(c.carriers) {
		better := !other.proven() && (other.replaces(k) || rank[other.kind] > rank[k.kind])
		if other != k && !better {
			c.lostLocked(other, errDropped)
		}
	}
}

// probeLocked tries a WebSocket beside a carrier that is worse (§11.2).
func (c *Conn) probeLocked(now time.Time) (next time.Time) {
	if !slices.Contains(c.o.Transports, WebSocket) || c.aliveLocked(wire.WebSocket) {
		return now.Add(time.Hour)
	}
	due := c.keep.probed.Add(probeEvery)
	if c.keep.probed.IsZero() {
		due = c.used.welcomed.Add(sinceFirst)
	}
	if !now.Before(due) {
		c.beginLocked(wire.WebSocket, now)
		return now.Add(time.Hour)
	}
	return due
}

// succeedLocked begins the next stream before the one in use ends, where that costs no
// connection (§3.3).
func (c *Conn) succeedLocked(now time.Time) (next time.Time) {
	k := c.used
	never := now.Add(time.Hour)
	rotate := time.Duration(k.welcome.Rotate) * time.Millisecond
	if k.kind != wire.Stream || !k.multi || rotate <= 2*rotateLead || k.succeeded {
		return never
	}
	if due := k.welcomed.Add(rotate - rotateLead); now.Before(due) {
		return due
	}
	k.succeeded = true
	if s := c.beginLocked(wire.Stream, now); s != nil {
		s.next = true
	}
	return never
}

// beginLocked starts a carrier: one that is to be used at once where none works.
func (c *Conn) beginLocked(kind wire.Kind, now time.Time) *carrier {
	if len(c.carriers) >= maxAlive {
		return nil
	}
	c.born++
	k := &carrier{c: c, kind: kind, born: c.born, begun: now, heard: now, limit: now.Add(openLimit), wake: make(chan struct{}, 1), chosen: make(chan struct{}, 1)}
	k.ctx, k.cancel = context.WithCancelCause(c.ctx)
	if c.used == nil && kind != kindPlain {
		c.turn++
		k.asks, k.turn = c.turn, c.turn
	}
	if kind == wire.WebSocket {
		c.keep.probed = now
	}
	c.carriers = append(c.carriers, k)
	c.wg.Go(k.run)
	return k
}

// run is a carrier's life.
func (k *carrier) run() {
	var err error
	switch k.kind {
	case wire.WebSocket:
		err = k.runWebSocket()
	case wire.Stream:
		err = k.runRequests(k.stream)
	case wire.Poll:
		err = k.runRequests(k.poll)
	case kindPlain:
		err = k.runPlain()
	}
	k.lost(err)
	k.cancel(err)
}

func (k *carrier) lost(err error) {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	k.c.lostLocked(k, err)
}

// lostLocked is the end of a carrier, the first time.
func (c *Conn) lostLocked(k *carrier, err error) {
	if k.over {
		return
	}
	k.over = true
	k.cancel(err)
	if k.judging != nil {
		k.judging.Stop()
	}
	c.carriers = slices.DeleteFunc(c.carriers, func(o *carrier) bool { return o == k })
	c.learnLocked(k, err)
	if k == c.used {
		c.used, c.keep.why = nil, err
		c.ackDue = false
	}
	if c.err == nil && doubtful(k, err) {
		c.wg.Go(c.renew())
	}
	if k.check && !k.proven() && k.replaces(c.used) && !answers(err) {
		c.lostLocked(c.used, errSilent)
	}
	signal(c.kick)
}

// replaces says that k was begun for the place of the one in use. That may be of another kind
// by now, which was never in doubt.
func (k *carrier) replaces(used *carrier) bool {
	return k.next && used != nil && used.kind == k.kind
}

// answers: what ended a check says that the network works.
func answers(err error) bool {
	s, no := (*statusError)(nil), (*Refused)(nil)
	return errors.As(err, &s) && s.passes() || errors.As(err, &no)
}

// doubtful: the end of k says that connections may have died in silence.
func doubtful(k *carrier, err error) bool {
	request := k.kind == wire.Stream || k.kind == wire.Poll
	return errors.Is(err, errSilent) || request && errors.Is(err, errNoAnswer)
}

// learnLocked draws what there is to be learnt from a carrier's end.
func (c *Conn) learnLocked(k *carrier, err error) {
	p := &c.keep
	age := time.Since(k.welcomed)
	lived, silent := age, false
	if h, _ := k.patiences(); errors.Is(err, errSilent) && k.stillborn() && age >= h {
		lived, silent = 0, true
	}
	switch {
	case errors.Is(err, errDropped) || c.err != nil:
		return
	case !k.proven():
		p.wsFailed = p.wsFailed || k.kind == wire.WebSocket
		p.mute = p.mute || errors.Is(err, errMute)
		p.late = p.late || k.kind == wire.Stream && !k.next && !errors.Is(err, errNoAnswer) && time.Since(k.begun) >= c.headStartLocked()
		p.note(k.kind, err)
		return
	case k.kind == wire.WebSocket && c.o.Memory.lost(c.ws.Host, lived):
		p.wsFailed = true
	case k.kind == wire.Stream && silent:
		p.silent++
		held := p.silent >= silentTimes
		p.late, p.mute = p.late || held, p.mute || held
	case k.kind == wire.Stream:
		p.silent = 0
	}
	if k != c.used {
		return
	}
	c.cutLocked(age)
	if !k.answered && (!errors.Is(err, errRotated) || age < shortLife) {
		p.tries++
	}
}

// silentTimes is how many streams in a row that bring no more than a WELCOME are held back.
// One may be a network that was lost just then.
const silentTimes = 2

// stillborn says that nothing came of a proven carrier but with its WELCOME, or to its USE.
func (k *carrier) stillborn() bool {
	moved := k.kind == wire.WebSocket && k.turn != k.asks // its PONG would have come
	h, _ := k.patiences()
	return !moved && k.heard.Sub(k.welcomed) < min(shortLife, h)
}

// checkLocked asks the carrier in use for a sign of life, or ends a wait (§10).
func (c *Conn) checkLocked(now time.Time) {
	p, k := &c.keep, c.used
	p.cuts = 0
	switch {
	case k == nil:
		p.tries, p.leaving, p.retryAt, p.notBefore = 0, false, time.Time{}, time.Time{}
		c.wg.Go(c.renew())
		for _, begun := range c.carriers {
			begun.limit = earlier(begun.limit, now.Add(askedTwice)) // it may hang in a network that is gone
		}
	case k.kind == wire.WebSocket:
		if k.asked.IsZero() || k.patience != askedTwice { // else it is being asked
			k.askLocked(now, askedTwice)
		}
	case slices.ContainsFunc(c.carriers, func(o *carrier) bool { return o.check && !o.proven() }):
		// it is being asked
	default:
		if s := c.beginLocked(k.kind, now); s != nil {
			s.next, s.check, s.limit = true, true, now.Add(askedTwice)
		}
	}
}
