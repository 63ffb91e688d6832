package resume

import (
	"net/http"
	"time"

	"sidecar/polling"
	"sidecar/protocol/resume/wire"
	"sidecar/session"
)

// maxAnswer is the most bytes of a poll's answer (§3.4).
const maxAnswer = 256 << 10

// maxAnswers is how many answers with messages may be on their way to one client at
// once: it asks for one at a time, and for another where it takes one for lost. Whoever
// asks and takes none could else have any number held for it.
const maxAnswers = 4

// A poll is the way of a long-poll's carrier, over its requests.
type poll struct {
	carrier *carrier
	request *polling.Poll // nil: there is none, or it is being answered; under the client's lock
}

var _ way = (*poll)(nil)

func (p *poll) ready() bool { return p.request != nil }

// wake answers the request that is held, if there is something to say.
func (p *poll) wake() {
	k := p.carrier
	c := k.client
	c.mu.Lock()
	request, b := p.take(time.Now())
	c.mu.Unlock()
	if request != nil {
		c.send(request, b)
	}
}

// send answers a poll with what take or reply returned.
func (c *client) send(request *polling.Poll, b []byte) {
	if !request.Answer(answer(b), func(bool) { c.arrived() }) {
		c.arrived()
	}
	c.settle()
}

// arrived says that an answer is on its way no longer. It may be called in a loop's
// callback, where no poll may be answered.
func (c *client) arrived() {
	c.mu.Lock()
	c.answers--
	k := c.current
	waited := c.answers == maxAnswers-1 && k != nil
	c.mu.Unlock()
	if waited {
		go k.way.wake()
	}
}

// settle ends a session whose client was told so.
func (c *client) settle() {
	c.mu.Lock()
	final := c.final && c.over == 0
	c.mu.Unlock()
	if final {
		c.end(session.Drained)
	}
}

// take takes the request to be answered. The caller holds the client's lock.
func (p *poll) take(now time.Time) (*polling.Poll, []byte) {
	if p.request == nil {
		return nil, nil
	}
	b := p.carrier.reply(now)
	if b == nil {
		return nil, nil
	}
	request := p.request
	p.request = nil
	return request, b
}

// end answers what is held with the ACK alone.
func (p *poll) end(int, string) {
	c := p.carrier.client
	c.mu.Lock()
	sorry := p.replace(nil)
	c.mu.Unlock()
	sorry()
}

// reply is the answer to a poll, or nil while there is nothing to say (§3.4); it counts
// as on its way until arrived. The caller holds the client's lock.
func (k *carrier) reply(now time.Time) []byte {
	c := k.client
	urgent := k.urgent || c.current != k
	if u := &c.up; !u.due.IsZero() && !now.Before(u.due) {
		urgent = true
	}
	if c.over != 0 {
		c.answers++
		return c.epitaph(k.welcome)
	}
	var b []byte
	switch {
	case k.welcome == nil:
		b = c.up.position().Append(nil)
	case k.over: // another has its place already, and say says nothing
		b = k.welcome
	}
	head, most := len(b), maxAnswer
	if c.answers >= maxAnswers {
		most = 0 // no messages
	}
	b, _, _ = k.say(b, most)
	if len(b) == head && !urgent && !k.over {
		return nil
	}
	c.up.tell(k == c.current)
	c.answers++
	if c.leaving() { // nobody could come for more
		c.final = true
		return gone(b, session.Drained.String())
	}
	k.until = now.Add(k.grace())
	c.clock.by(c, k.until, now)
	return b
}

// epitaph is the answer to a request once the session has ended, behind what it was
// owed. The caller holds mu.
func (c *client) epitaph(welcome []byte) []byte { return gone(welcome, c.over.String()) }

// grace is what the next request may take to come: then the client is away.
func (k *carrier) grace() time.Duration {
	if t := k.client.handler.Heartbeat.Timeout; t > 0 {
		return t
	}
	return defaultTimeout
}

// defaultTimeout is what requests have where there is no timeout (§3.5).
const defaultTimeout = 30 * time.Second

// servePoll serves a poll (§3.4).
func (h *Handler) servePoll(w http.ResponseWriter, r *http.Request, a *ask, first wire.Frame, rest []byte) {
	var k *carrier
	var last []byte
	var brief bool
	if first.Type == wire.TypeHello {
		p := &poll{}
		p.carrier = &carrier{kind: wire.Poll, way: p}
		k, last = h.begin(w, r, a, first, rest, p.carrier)
	} else {
		k, last, brief = h.nextPoll(a, first, rest)
	}
	switch {
	case last != nil:
		h.Desk.Write(w, r, answer(last))
	case k != nil:
		k.hold(w, r, brief)
	}
}

// nextPoll takes a further request of a poll's.
func (h *Handler) nextPoll(a *ask, first wire.Frame, rest []byte) (k *carrier, last []byte, brief bool) {
	c, generation, reason := h.goOn(a, first)
	if reason != "" {
		return nil, gone(nil, reason), false
	}
	now := time.Now()
	c.mu.Lock()
	if c.over != 0 {
		defer c.mu.Unlock()
		return nil, c.epitaph(nil), false
	}
	k, after := c.pollOf(generation, now)
	t := c.take(rest, now)
	after.add(t.after)
	after.add(k.heed(t))
	c.mu.Unlock()
	c.do(after)
	return k, nil, t.data
}

// pollOf is the poll of a generation, which is attached if it is not. The caller
// holds mu.
func (c *client) pollOf(generation uint64, now time.Time) (k *carrier, a aftermath) {
	for _, k := range c.carriers {
		if k.generation == generation && k.kind == wire.Poll {
			return k, a
		}
	}
	p := &poll{}
	k = &carrier{generation: generation, kind: wire.Poll, way: p}
	p.carrier = k
	a = c.place(k, now)
	a.add(c.point())
	return k, a
}

// heed has the answer go at once where it must, and what was lost go again. The
// caller holds mu.
func (k *carrier) heed(t taken) (a aftermath) {
	c := k.client
	if t.pinged {
		k.ponged, k.marked = true, int8(copy(k.mark[:], t.mark))
	}
	if t.dropped && !t.short { // else it would come again at once
		k.urgent = true
	}
	if c.current == k && c.down.ahead() {
		a = c.want()
	}
	return a
}

// hold answers a poll, now or later; brief: it had DATA.
func (k *carrier) hold(w http.ResponseWriter, r *http.Request, brief bool) {
	c, p := k.client, k.way.(*poll)
	now := time.Now()
	c.mu.Lock()
	sorry := p.replace(nil)
	b := k.reply(now)
	c.mu.Unlock()
	sorry()
	if b != nil {
		c.handler.Desk.Write(w, r, answer(b))
		c.arrived()
		c.settle()
		return
	}
	var request *polling.Poll
	request, err := c.handler.Desk.Hold(w, r, func() { p.gone(request) })
	if err != nil {
		return
	}
	c.mu.Lock()
	sorry = p.replace(request)
	k.until = now.Add(c.handler.Settings.Poll)
	if brief {
		k.until = now.Add(ackTime)
	}
	c.clock.by(c, k.until, now)
	answered, b := p.take(now) // what has come meanwhile found nobody here
	c.mu.Unlock()
	sorry()
	if answered != nil {
		c.send(answered, b)
	}
	request.Wait()
}

// replace puts a request in the place of the one that is held, which is to be
// answered. The caller holds the client's lock.
func (p *poll) replace(request *polling.Poll) (reply func()) {
	earlier := p.request
	p.request = request
	if earlier == nil {
		return func() {}
	}
	b := p.carrier.client.up.position().Append(nil) // who asked again may have left this one
	return func() { earlier.Answer(answer(b), nil) }
}

// gone says that the client has given a request up.
func (p *poll) gone(request *polling.Poll) {
	k := p.carrier
	c := k.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.request != request {
		return
	}
	p.request = nil
	if !k.over {
		c.drop(k, 0, "")
	}
}
