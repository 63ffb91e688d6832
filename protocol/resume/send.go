package resume

import (
	"math"
	"net/http"
	"slices"
	"time"

	"sidecar/polling"
	"sidecar/protocol/resume/wire"
)

// maxSends is how many `send` requests of a client wait at once; a client has one
// under way, or two as it leaves (§3.2). One more is answered at once.
const maxSends = 4

// A held is a `send` request that waits until its DATA was handed on (§3.5).
type held struct {
	request *polling.Poll
	from    uint64 // its generation
	upto    uint64 // the number of its last message
	until   time.Time
	pong    []byte // what it has beside the ACK
}

// serveSend serves a `send`.
func (h *Handler) serveSend(w http.ResponseWriter, r *http.Request, a *ask, first wire.Frame, rest []byte) {
	c, generation, reason := h.goOn(a, first)
	if reason != "" {
		h.Desk.Write(w, r, answer(gone(nil, reason)))
		return
	}
	now := time.Now()
	s := &held{from: generation, until: now.Add(ackTime)}
	c.mu.Lock()
	t := c.take(rest, now)
	if t.pinged {
		s.pong = wire.AppendPong(nil, t.mark)
	}
	s.upto = c.up.assembly.Ack(0).Next() - 1
	if t.short {
		s.upto = math.MaxUint64 // or it would come again at once
	}
	c.mu.Unlock()
	c.do(t.after)
	c.mu.Lock()
	if c.handedOn(s.upto) || len(c.sends) >= maxSends {
		b := c.reply(s)
		c.mu.Unlock()
		h.Desk.Write(w, r, answer(b))
		return
	}
	c.mu.Unlock()
	c.wait(w, r, s)
}

// handedOn reports whether nothing up to a number waits. The caller holds mu.
func (c *client) handedOn(number uint64) bool {
	return c.up.handed >= number || c.up.deaf || c.over != 0
}

// reply is the answer to a `send`. The caller holds mu.
func (c *client) reply(s *held) []byte {
	if c.over != 0 {
		return c.epitaph(nil)
	}
	used := c.current != nil && c.current.generation == s.from
	return append(c.up.tell(used).Append(nil), s.pong...)
}

// wait answers a `send` later.
func (c *client) wait(w http.ResponseWriter, r *http.Request, s *held) {
	var err error
	if s.request, err = c.handler.Desk.Hold(w, r, func() { c.forget(s) }); err != nil {
		return
	}
	c.mu.Lock()
	now := time.Now()
	if len(c.sends) >= maxSends { // they came at once
		s.until = now
	}
	c.sends = append(c.sends, s)
	c.clock.by(c, s.until, now)
	all := c.answerSends(now)
	c.mu.Unlock()
	for _, f := range all {
		f()
	}
	s.request.Wait()
}

// forget takes out a `send` whose client has gone.
func (c *client) forget(s *held) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sends = slices.DeleteFunc(c.sends, func(other *held) bool { return other == s })
}

// answerSends takes out those that are to be answered. The caller holds mu.
func (c *client) answerSends(now time.Time) (all []func()) {
	if len(c.sends) == 0 {
		return nil
	}
	c.sends = slices.DeleteFunc(c.sends, func(s *held) bool {
		if !c.handedOn(s.upto) && now.Before(s.until) {
			return false
		}
		b := c.reply(s)
		all = append(all, func() { s.request.Answer(answer(b), nil) })
		return true
	})
	return all
}
