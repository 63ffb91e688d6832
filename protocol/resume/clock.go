package resume

import (
	"time"

	"sidecar/heartbeat"
	"sidecar/protocol/resume/wire"
	"sidecar/session"
)

// secondLook is what a client that was found silent has: what it sent may wait to be
// read, as where this program was stopped.
const secondLook = 500 * time.Millisecond

// A clock is the one timer of a client.
type clock struct {
	timer *time.Timer
	at    time.Time // when it rings; zero: it does not
}

// by has it ring at a time, or before. The caller holds the client's lock.
func (k *clock) by(c *client, at, now time.Time) {
	if at.IsZero() || c.over != 0 || !k.at.IsZero() && !at.Before(k.at) {
		return
	}
	k.at = at
	if k.timer == nil {
		k.timer = time.AfterFunc(at.Sub(now), c.tick)
	} else {
		k.timer.Reset(at.Sub(now))
	}
}

// soon has it ring when something is due next. The caller holds the client's lock.
func (k *clock) soon(c *client, now time.Time) {
	for _, other := range c.carriers {
		k.by(c, other.due(now), now)
	}
	for _, s := range c.sends {
		k.by(c, s.until, now)
	}
}

func (k *clock) stop() {
	if k.timer != nil {
		k.timer.Stop()
	}
}

// tick does what is due.
func (c *client) tick() {
	c.mu.Lock()
	if c.over != 0 {
		c.mu.Unlock()
		return
	}
	now := time.Now()
	c.clock.at = time.Time{}
	var a aftermath
	if u := &c.up; !u.due.IsZero() && !now.Before(u.due) {
		if u.news() {
			a.stir = c.urge()
		} else {
			u.due = time.Time{}
		}
	} else {
		c.clock.by(c, u.due, now)
	}
	for i := len(c.carriers) - 1; i >= 0; i-- {
		c.carriers[i].tick(now, &a)
	}
	a.reply = c.answerSends(now)
	c.depart(now, &a)
	c.miss(now, &a)
	c.clock.soon(c, now)
	c.mu.Unlock()
	c.do(a)
}

// byeTime is what a client has, that said that it leaves, to come for the backend's last
// words all the same.
const byeTime = 5 * time.Second

// miss ends the session of a client that said that it leaves, and did. The caller holds
// mu.
func (c *client) miss(now time.Time, a *aftermath) {
	switch {
	case c.bye.IsZero():
	case now.Before(c.bye):
		c.clock.by(c, c.bye, now)
	case len(c.carriers) == 0:
		a.why = session.Left
	default:
		c.bye = now.Add(byeTime)
		c.clock.by(c, c.bye, now)
	}
}

// due is when something is due on k; zero: never. The caller holds mu.
func (k *carrier) due(now time.Time) time.Time {
	if k.pinging { // it waits to be written, which has a bound of its own
		return k.until
	}
	_, at := k.seen.Next(k.beat(), now)
	if second := k.doubted.Add(secondLook); !k.doubted.IsZero() && at.Before(second) {
		at = second
	}
	if at.IsZero() || !k.until.IsZero() && k.until.Before(at) {
		return k.until
	}
	return at
}

// beat is how silence is judged: on a WebSocket the client's too, on a stream ours
// alone, and polls are never silent for longer than they are held.
func (k *carrier) beat() heartbeat.Policy {
	switch p := k.client.handler.Heartbeat; k.kind {
	case wire.WebSocket:
		return p
	case wire.Stream:
		return heartbeat.Policy{Interval: p.Interval}
	}
	return heartbeat.Policy{}
}

// tick does what is due on k. The caller holds mu.
func (k *carrier) tick(now time.Time, a *aftermath) {
	if !k.until.IsZero() && !now.Before(k.until) {
		k.expire(a)
		return
	}
	if k.pinging {
		return
	}
	switch action, _ := k.seen.Next(k.beat(), now); {
	case action == heartbeat.Probe:
		k.pinging = true
		a.stir = append(a.stir, k)
	case action != heartbeat.Lost:
	case k.doubted.IsZero():
		k.doubted = now
	case now.Sub(k.doubted) >= secondLook:
		a.end = append(a.end, k.client.drop(k, codePolicy, "heartbeat timeout"))
	}
}

// expire ends what lasts until now: a WebSocket of which something was put off for want
// of memory, a stream, the time that a poll is held, or the
// time that the next may take to come.
func (k *carrier) expire(a *aftermath) {
	k.until = time.Time{}
	switch {
	case k.kind == wire.WebSocket:
		a.end = append(a.end, k.client.drop(k, codeTryAgain, "memory is short"))
	case k.kind == wire.Stream:
		k.aged = true
		a.stir = append(a.stir, k)
	case k.way.ready():
		k.urgent = true
		a.stir = append(a.stir, k)
	default:
		k.client.drop(k, 0, "")
	}
}

// alive says that the client was heard. The caller holds mu.
func (k *carrier) alive(now time.Time) {
	k.seen.Seen(now)
	k.doubted = time.Time{}
}
