package session

import (
	"math/rand/v2"
	"slices"
	"time"

	"sidecar/test/history"
)

// A client is the other end of the numbered protocol. It is one goroutine, and
// has one link, or for a while two.
type client struct {
	trial    *trial
	server   *numbered
	rng      *rand.Rand
	plan     plan
	up, down history.Stream
	says     int
	doubled  bool // changes links make before break

	inbox      chan letter
	links      []*link // the newest last
	heard      map[*link]time.Time
	generation int
	tries      int
	received   uint64
	said       int
	outbox     []frame // not acknowledged yet
	closed     bool    // its close is in the outbox, or was
	late       bool    // has something to acknowledge
	end        string  // how it ended: close, gone or left
}

func (c *client) run() {
	c.heard = map[*link]time.Time{}
	defer func() {
		for _, l := range slices.Clone(c.links) {
			c.leave(l)
		}
	}()
	tick := time.NewTicker(time.Duration(50+c.rng.IntN(1000)) * time.Millisecond)
	defer tick.Stop()
	for c.end == "" {
		if len(c.links) == 0 {
			pause := time.Millisecond // no fault makes a client ask for ever at one instant
			if c.rng.IntN(4) == 0 {
				pause += ms(c.rng, 20_000)
			}
			if !c.trial.rest(pause) {
				return
			}
			c.connect()
		}
		select {
		case v := <-c.inbox:
			c.hear(v)
		case <-tick.C:
			c.live()
		case <-c.trial.ctx.Done():
			return
		}
	}
}

// connect begins a new link. One that follows many has no faults.
func (c *client) connect() {
	c.tries++
	l := c.trial.newLink(c.rng, c.plan.steady || c.tries > 12)
	c.links = append(c.links, l)
	c.heard[l] = time.Now()
	c.generation++
	c.trial.wg.Add(2)
	go c.server.serve(l)
	go c.trial.forward(l, c.inbox)
	if c.doubled {
		l.up.send(frame{kind: "hello", n: c.received, generation: c.generation})
	} else {
		l.up.send(frame{kind: "resume", n: c.received, generation: c.generation})
	}
}

func (c *client) leave(l *link) {
	close(l.down.gone)
	close(l.up.left)
	c.links = slices.DeleteFunc(c.links, func(o *link) bool { return o == l })
	delete(c.heard, l)
}

// any is one of the links: messages may overtake each other.
func (c *client) any() *link { return c.links[c.rng.IntN(len(c.links))] }

// live does what is to be done from time to time.
func (c *client) live() {
	for _, l := range slices.Clone(c.links) {
		if time.Since(c.heard[l]) > clientPatience {
			c.leave(l)
		} else if time.Since(c.heard[l]) > beat {
			l.up.send(frame{kind: "ping"})
		}
	}
	if len(c.links) == 0 {
		return
	}
	if c.late {
		c.acknowledge()
	}
	switch k := c.rng.IntN(20); {
	case k < 10 && c.said < c.says:
		c.said++
		m := Message{Data: c.trial.h.Send(c.up, 40+c.rng.IntN(1000))}
		c.offer(frame{kind: "data", n: uint64(c.said), m: m})
	case c.said == c.says && !c.closed && !c.plan.closes && len(c.outbox) == 0:
		c.closed = true
		c.offer(frame{kind: "close", n: uint64(c.said) + 1})
	case k == 10 && c.doubled && len(c.links) == 1 && !c.plan.steady:
		c.connect()
	case k == 11 && len(c.links) > 1:
		c.leave(c.links[0])
	case k == 12:
		c.resend()
	case k == 13 && c.rng.IntN(100) == 0 && !c.plan.patient:
		c.end = "left" // and says nothing
	}
}

func (c *client) offer(f frame) {
	c.outbox = append(c.outbox, f)
	c.any().up.send(f)
}

// resend sends again what is not acknowledged, by any links, so that some of it
// overtakes the rest.
func (c *client) resend() {
	for _, f := range c.outbox {
		c.any().up.send(f)
	}
}

func (c *client) acknowledge() {
	c.late = false
	c.any().up.send(frame{kind: "ack", n: c.received})
}

func (c *client) hear(v letter) {
	if !slices.Contains(c.links, v.from) {
		return
	}
	if !v.ok {
		c.leave(v.from)
		return
	}
	c.heard[v.from] = time.Now()
	switch v.f.kind {
	case "welcome":
		c.acknowledged(v.f.n)
		if v.f.low > c.received+1 {
			c.trial.wrong("message %d cannot be had again; received %d", v.f.low, c.received)
		}
		if c.doubled && v.from == c.links[len(c.links)-1] {
			v.from.up.send(frame{kind: "use", generation: c.generation})
		}
		if c.rng.IntN(2) == 0 {
			c.resend()
		}
	case "ack":
		c.acknowledged(v.f.n)
	case "gone":
		c.end = "gone"
	case "data", "close":
		c.take(v)
	}
}

func (c *client) acknowledged(n uint64) {
	c.outbox = slices.DeleteFunc(c.outbox, func(f frame) bool { return f.n <= n })
}

// take receives a message once; what comes again by an old link is known by its
// number. Acks are late now and then, and come twice.
func (c *client) take(v letter) {
	switch {
	case v.f.n <= c.received:
	case v.f.n > c.received+1:
		c.trial.wrong("message %d came after %d", v.f.n, c.received)
	case v.f.kind == "close":
		c.received++
		c.end = "close"
	default:
		c.received++
		c.trial.h.Receive(c.down, v.f.m.Data)
	}
	if c.end != "" || c.rng.IntN(3) > 0 {
		c.acknowledge()
	} else {
		c.late = true
	}
	if c.rng.IntN(10) == 0 {
		c.any().up.send(frame{kind: "ack", n: c.received - min(c.received, uint64(c.rng.IntN(5)))})
	}
}
