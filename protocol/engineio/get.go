package engineio

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"sidecar/polling"
	"sidecar/session"
)

// A draught is what one poll's answer carries.
type draught struct {
	engine  *engine
	body    []byte
	last    uint64 // the number of its last message
	counted bool   // in engine.writing
	final   bool   // there will be no other: the program stops
	stuck   bool   // the message behind it cannot travel
}

// get serves a poll. False: the session is over.
func (e *engine) get(w http.ResponseWriter, r *http.Request) bool {
	h := e.handler
	e.mu.Lock()
	switch {
	case e.over:
		e.mu.Unlock()
		return false
	case e.socket != nil || r.ContentLength != 0:
		e.mu.Unlock()
		h.refuse(w, r, errRequest)
		return true
	case e.polled:
		e.finish(breach)
		h.reject(w, r)
		return true
	}
	e.arrived()
	if d := e.draw(false); d != nil {
		e.mu.Unlock()
		d.done(h.Desk.Write(w, r, payload(d.body)))
		return true
	}
	e.polled = true
	e.mu.Unlock()
	e.hold(w, r)
	return true
}

// hold keeps a poll until there is something to say.
func (e *engine) hold(w http.ResponseWriter, r *http.Request) {
	p, err := e.handler.Desk.Hold(w, r, e.vanish)
	if err != nil {
		e.vanish()
		return
	}
	e.mu.Lock()
	e.poll = p
	e.flush(false)
	p.Wait()
}

// vanish ends the session of a client that gave its poll up, unless it has changed
// over before that was answered.
func (e *engine) vanish() {
	e.mu.Lock()
	if e.socket != nil {
		e.mu.Unlock()
		return
	}
	e.finish(vanished)
}

// flush answers the poll that is open, if there is something to say, or if idle
// with a noop. The poll is forgotten before its answer can reach the client, whose
// next one may come at once. The caller holds mu, which flush frees.
func (e *engine) flush(idle bool) {
	p := e.poll
	if p == nil {
		e.mu.Unlock()
		return
	}
	var a polling.Answer
	var d *draught
	switch {
	case e.over:
		a = payload([]byte{byte(e.ending.word)})
	case e.socket != nil: // the poll was overtaken by the change of transport
		a = errRequest.answer()
	default:
		if d = e.draw(idle); d == nil {
			e.mu.Unlock()
			return
		}
		a, d.body = payload(d.body), nil // what is told of it keeps d for as long as it takes to leave
	}
	e.poll, e.polled = nil, false
	e.mu.Unlock()
	switch {
	case d == nil:
		p.Answer(a, nil)
	case !p.Answer(a, d.done):
		d.done(false)
	}
}

// batches are lent to Reader.Take, and to what is read from a body.
var batches = sync.Pool{New: func() any { return new([batch]session.Message) }}

const batch = 32

// draw makes an answer of what there is to say: nil if that is nothing, or if it is
// worth waiting for more. The caller holds mu.
func (e *engine) draw(idle bool) *draught {
	if e.jammed {
		return nil
	}
	space := batches.Get().(*[batch]session.Message)
	defer func() { clear(space[:]); batches.Put(space) }()
	b, err := e.reader.Take(space[:0], e.handler.Settings.MaxPayload)
	if err != nil {
		return nil // the session has ended, and is about to say so
	}
	all := b.Messages
	if len(e.got) > 0 {
		all = append(e.got, all...)
	}
	switch urgent := idle || e.beat.owed || b.Close != nil; {
	case !urgent && len(all) == 0:
		return nil
	case !urgent && e.lingers(all):
		return nil
	}
	e.got = nil
	d := &draught{engine: e, last: b.Last()}
	d.final = !idle && b.Close == nil && e.handler.Leaving != nil && e.handler.Leaving()
	if b.Close != nil {
		e.heard = b.Close
	}
	d.fill(all, e.beat.owed, b.Close != nil)
	e.beat.owed, e.jammed = false, d.stuck || d.final
	if d.counted = len(all) > 0; d.counted {
		e.writing++
	}
	return d
}

// lingers reports whether an answer with these messages waits for more, which are
// then kept. The caller holds mu.
func (e *engine) lingers(all []session.Message) bool {
	wait := e.linger.Wait(len(all), time.Now())
	if wait <= 0 {
		return false
	}
	if len(e.got) > 0 {
		e.got = all
	} else {
		e.got = slices.Clone(all) // they are in borrowed space
	}
	if !e.lingering {
		e.lingering = true
		time.AfterFunc(wait, e.lingered)
	}
	return true
}

func (e *engine) lingered() {
	e.mu.Lock()
	e.lingering = false
	e.flush(false)
}

// fill writes the body: a ping, the messages, the close behind them, or a noop.
func (d *draught) fill(all []session.Message, pings, closes bool) {
	size := 4
	for _, m := range all {
		size += room(m)
	}
	d.body = make([]byte, 0, size)
	if pings {
		d.body = add(d.body, ping)
	}
	for i, m := range all {
		if d.stuck = !travels(m); d.stuck {
			d.last -= uint64(len(all) - i)
			if closes {
				d.last--
			}
			break
		}
		d.body = addMessage(d.body, m)
	}
	if closes || d.stuck || d.final {
		d.body = add(d.body, closing)
	}
	if len(d.body) == 0 {
		d.body = add(d.body, noop)
	}
}

// done is told whether the client's kernel has the whole answer. Where it does not,
// messages are lost for good, and the session with them.
func (d *draught) done(ok bool) {
	e := d.engine
	if ok {
		_ = e.session.Ack(d.last) // fails only once the session has ended
	}
	e.mu.Lock()
	if d.counted {
		e.writing--
	}
	switch {
	case d.stuck:
		e.handler.complain()
		e.finish(stuck)
	case !ok:
		e.finish(vanished)
	case d.final:
		e.finish(drained)
	case e.socket != nil && e.writing == 0:
		e.stir()
	default:
		e.mu.Unlock()
	}
}

// complain tells the operator, once, that messages are of a kind that ends sessions.
func (h *Handler) complain() {
	h.once.Do(func() {
		h.log().Warn("text with U+001E in it cannot go by polling, and ends the session; send it as binary", "route", h.Route, "protocol", "engineio")
	})
}
