package resumable

import (
	"context"
	"errors"
	"time"

	"sidecar/protocol/resume/wire"
)

// leastUp is as much of messages as may go in any request. On a slow path one of the largest
// would not be there in the time that it has, however often it was made.
const leastUp = 4 << 10

// paceLocked learns from a request's fate what the next may take: twice as much where that
// took a fourth of its time, and half where it failed. It may have been too large for the way
// in its time, or for what is on the way.
func (c *Conn) paceLocked(x exchange, err error) {
	switch took := time.Since(x.made); {
	case x.size <= c.upMost/2:
	case err != nil:
		c.upMost = max(leastUp, c.upMost/2)
	case x.limit == 0 || took < x.limit/4:
		c.upMost = min(wire.MaxBody, 2*c.upMost)
	}
}

// sends makes the requests that go up beside a stream or a poll, one at a time, until
// the carrier is over. It returns an error where the carrier is of no use for them.
func (k *carrier) sends() error {
	c := k.c
	var err error
	for failed := 0; failed < sendTries; {
		x, ok := c.sendNext(k)
		if !ok {
			select {
			case <-k.wake:
				continue
			case <-k.ctx.Done():
				return nil
			}
		}
		err = k.do(x)
		k.settle(x, err)
		if k.ctx.Err() != nil {
			return nil
		}
		if final(err) {
			return err
		}
		switch {
		case errors.Is(err, errNoAnswer):
			c.wg.Go(c.renew())
		case err == nil && c.droppedAll(x):
			err = errDeaf
		case err == nil:
			failed = 0
			continue
		}
		if failed++; failed < sendTries && !sleep(k.ctx, random(backoff(c.o.MinBackoff, c.o.MaxBackoff, failed))) {
			return nil
		}
	}
	return err
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// droppedAll: the server took nothing, which must not go round and round at once.
func (c *Conn) droppedAll(x exchange) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return x.data && !x.from.before(c.out.taken)
}

// left: a GOAWAY came, and who is lost then waits before coming back (§9.1).
func (c *Conn) left() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keep.leaving
}

// nothingNew: nothing of a message got across, either way, since a request was made.
func (c *Conn) nothingNew(x exchange) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return x.had == c.acrossLocked()
}

// acrossLocked is what all that got across counts for, both ways.
func (c *Conn) acrossLocked() uint64 { return c.out.across() + c.in.took }

// settle takes a request's fate: what did not come goes again (§3.5). It reports
// whether the carrier was welcomed.
func (k *carrier) settle(x exchange, err error) bool {
	c := k.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if x.kind == wire.Send {
		k.sending = false
	}
	c.paceLocked(x, err)
	switch {
	case k.over:
	case err != nil:
		k.at = c.out.taken
		c.in.untold()
		c.ackDue = c.in.news() && k == c.used
		k.ping = k.proven() // the answer had an ACK, which only a request has said again
	default:
		if c.out.taken.before(x.upto) {
			k.at = c.out.taken
		}
		if x.use {
			k.use = false
		}
		if k.proven() && !k.use && x.kind != wire.Stream && !k.answered && !x.hello {
			k.answered = true
			signal(c.kick)
		}
		k.nudge()
	}
	return k.proven()
}

// sendNext is the next send, where there is something that does not go with a poll.
func (c *Conn) sendNext(k *carrier) (x exchange, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.over || !k.proven() {
		return x, false
	}
	up, due := c.upLocked(k), c.ackDue && k == c.used && c.in.news()
	if !up && !due && !k.use && !k.ping {
		c.saidLocked(k)
		return x, false
	}
	x = c.continueLocked(k, wire.Send, true)
	_, t := k.patiences()
	x.limit, k.sending = t+sendHeld, true
	return x, true
}

// pollNext is the next poll. It takes messages along, unless a send does.
func (c *Conn) pollNext(k *carrier) exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.continueLocked(k, wire.Poll, !k.sending)
	if h, t := k.patiences(); h > 0 {
		x.limit = h + t
	}
	return x
}

// continueLocked makes a request of a carrier that was welcomed (§5.5).
func (c *Conn) continueLocked(k *carrier, kind wire.Kind, take bool) exchange {
	x := exchange{kind: kind, made: time.Now(), had: c.acrossLocked(), named: c.tokenLocked(nil), use: k.use}
	x.body = wire.Continue{Generation: k.born, Session: c.welcome.Session, Token: x.named}.Append(nil)
	if k == c.used {
		x.body, c.ackDue = c.in.tell().Append(x.body), false
	} else { // it may be dropped at any time, and nobody would say this again
		x.body = c.in.ack().Append(x.body)
	}
	if k.pong != nil {
		x.body, k.pong = wire.AppendPong(x.body, k.pong), nil
	}
	if k.use {
		x.body = wire.Use{Turn: k.turn, Generation: k.born}.Append(x.body)
	}
	if k.ping {
		x.body, k.ping = wire.AppendPing(x.body, nil), false
	}
	x.from = k.at
	if x.from.before(c.out.taken) {
		x.from = c.out.taken
	}
	if take && c.upLocked(k) {
		head := len(x.body)
		x.body, k.at = c.out.append(x.body, k.at, min(c.upMost, wire.MaxBody-head))
		x.data, x.size = true, len(x.body)-head
	}
	x.upto = k.at
	return x
}
