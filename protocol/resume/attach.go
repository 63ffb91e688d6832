package resume

import (
	"crypto/subtle"
	"math/rand/v2"
	"time"

	"sidecar/protocol/resume/wire"
	"sidecar/session"
)

// maxCarriers is how many carriers a session has attached (§6.2). One more ends the
// oldest that is not in use.
const maxCarriers = 8

// Reasons of a GONE that are no session's.
const (
	unknown = "unknown"
	gap     = "gap"
	closed  = "closed"
)

// find finds the client of a session, if whoever asks may have it. Otherwise it is
// told why it is gone.
func (h *Handler) find(id string, ask *ask) (c *client, reason string) {
	s, err := h.Sessions.Find(id, ask.who)
	if err != nil {
		if g, ok := err.(*session.Gone); ok {
			return nil, g.Reason.String()
		}
		return nil, unknown
	}
	c, ok := s.Protocol().(*client)
	if !ok || c.handler.Route != h.Route || c.origin != ask.origin {
		return nil, unknown
	}
	return c, ""
}

// resume attaches k, whose HELLO resumes the session (§5.3). The reason is that of a
// GONE; empty: it is attached.
func (c *client) resume(k *carrier, hello *wire.Hello) (reason string) {
	c.mu.Lock()
	if reason = c.admit(hello.Token, hello.Attempt); reason != "" {
		c.mu.Unlock()
		return reason
	}
	if hello.Lowest > c.up.assembly.Ack(0).Next() {
		c.mu.Unlock()
		c.session.End(session.Missed, session.Close{Code: codeGoingAway})
		return gap
	}
	acked, err := c.down.ack(hello.Ack())
	if err != nil {
		c.mu.Unlock()
		c.end(session.Broken)
		return session.Broken.String()
	}
	a := c.attach(k, hello)
	a.ack = acked
	c.mu.Unlock()
	c.do(a)
	return ""
}

// admit checks a token, and an attempt where there is one. The caller holds mu.
func (c *client) admit(token, attempt string) (reason string) {
	if attempt != "" && subtle.ConstantTimeCompare([]byte(attempt), []byte(c.attempt)) == 0 {
		return unknown
	}
	if !c.tokens.Use(token) {
		return unknown
	}
	if c.over != 0 {
		return c.over.String()
	}
	return ""
}

// join attaches k, whose HELLO opens the session, or comes late for that.
func (c *client) join(k *carrier, hello *wire.Hello) (reason string) {
	c.mu.Lock()
	if c.over != 0 {
		defer c.mu.Unlock()
		return c.over.String()
	}
	a := c.attach(k, hello)
	c.mu.Unlock()
	c.do(a)
	return ""
}

// attach makes k one of the client's carriers. The caller holds mu.
func (c *client) attach(k *carrier, hello *wire.Hello) (a aftermath) {
	now := time.Now()
	a = c.place(k, now)
	c.down.window = int64(hello.Window)
	if hello.Use > c.turn {
		c.turn, c.using = hello.Use, k.generation
	}
	a.add(c.point())
	k.welcome, k.urgent = c.greeting(k), false
	a.stir = append(a.stir, k)
	if c.current != nil && c.current != k {
		a.stir = append(a.stir, c.current) // the window may be larger now
	}
	return a
}

// place puts k among the carriers, maybe in another's place. The caller holds mu.
func (c *client) place(k *carrier, now time.Time) (a aftermath) {
	k.client, k.opened = c, now
	k.seen = c.handler.Heartbeat.Start(now, rand.Float64())
	k.rotate(now)
	for _, old := range c.carriers {
		if old.generation == k.generation {
			a.end = append(a.end, c.drop(old, codeNormal, "another connection has its place"))
			break
		}
	}
	c.carriers = append(c.carriers, k)
	if len(c.carriers) > maxCarriers {
		oldest := c.carriers[0]
		if oldest == c.current {
			oldest = c.carriers[1]
		}
		a.end = append(a.end, c.drop(oldest, codeNormal, "too many carriers"))
	}
	c.clock.soon(c, now)
	return a
}

// drop takes a carrier from the client, and returns what ends it. The caller holds
// mu.
func (c *client) drop(k *carrier, code int, reason string) func() {
	k.over = true
	for i, other := range c.carriers {
		if other == k {
			c.carriers = append(c.carriers[:i:i], c.carriers[i+1:]...)
			break
		}
	}
	if c.current == k {
		c.current = nil
		c.leave()
	}
	return func() { k.way.end(code, reason) }
}

// lost takes a carrier from the client that has ended by itself.
func (c *client) lost(k *carrier) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !k.over {
		c.drop(k, 0, "")
	}
}

// greeting is a WELCOME. The caller holds mu.
func (c *client) greeting(k *carrier) []byte {
	h, at := c.handler, c.up.tell(k == c.current)
	w := wire.Welcome{
		Version: wire.Version, Session: c.id, Token: c.tokens.Offer(), Protocol: c.protocol,
		Position: wire.Position{Received: at.Received, Ahead: at.Ahead, Partial: at.Partial, Lowest: c.down.acked + 1},
		Window:   uint64(h.Session.Window), Message: uint64(max(0, h.Message)),
		Heartbeat: milliseconds(h.Heartbeat.Interval), Timeout: milliseconds(h.Heartbeat.Timeout), TTL: milliseconds(h.Session.TTL),
	}
	switch k.kind {
	case wire.Stream:
		w.Rotate = milliseconds(h.Settings.Rotate)
	case wire.Poll:
		w.Heartbeat = milliseconds(h.Settings.Poll)
	}
	b, err := w.Append(nil)
	if err != nil { // what it is made of is ours, and within the bounds
		panic(err)
	}
	return b
}

func milliseconds(d time.Duration) uint64 {
	if d <= 0 {
		return 0
	}
	return uint64(max(1, d.Milliseconds()))
}

// use has what goes down go by another carrier (§6.3). The caller holds mu.
func (c *client) use(u wire.Use) aftermath {
	if u.Turn <= c.turn {
		return aftermath{}
	}
	c.turn, c.using = u.Turn, u.Generation
	return c.point()
}

// point makes the carrier of the generation in use the current one. The caller
// holds mu.
func (c *client) point() (a aftermath) {
	var k *carrier
	for _, other := range c.carriers {
		if other.generation == c.using {
			k = other
		}
	}
	old := c.current
	if k == old {
		return a
	}
	c.current = k
	if k == nil {
		c.leave()
		return a
	}
	c.last = k.kind
	c.up.told, k.urgent = wire.Ack{}, true // what the one before was told may be lost with it
	a = c.want()
	a.stir = append(a.stir, k)
	if old != nil {
		a.stir = append(a.stir, old) // a poll of it is held no longer
	}
	return a
}
