package engineio

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"sidecar/access"
	"sidecar/polling"
	"sidecar/session"
)

// post serves a request that brings packets. False: the session is over.
func (e *engine) post(w http.ResponseWriter, r *http.Request) bool {
	e.mu.Lock()
	switch {
	case e.over:
		e.mu.Unlock()
		return false
	case e.socket != nil:
		e.mu.Unlock()
		e.handler.refuse(w, r, errRequest)
		return true
	case e.posted, isBinary(r):
		e.finish(breach)
		e.handler.reject(w, r)
		return true
	}
	e.arrived()
	e.posted = true
	e.mu.Unlock()
	a, ok := e.receive(w, r)
	e.mu.Lock()
	e.posted = false // before the client can have the answer, and send the next
	e.mu.Unlock()
	if ok {
		e.handler.Desk.Write(w, r, a)
	}
	return ok
}

// isBinary knows the payloads that revision 3 has in binary.
func isBinary(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Content-Type"), "application/octet-stream")
}

// receive reads a body, and passes on what is in it. False: the session is over.
func (e *engine) receive(w http.ResponseWriter, r *http.Request) (a polling.Answer, ok bool) {
	body, err := e.handler.Desk.Read(w, r, e.handler.Settings.MaxPayload)
	if err != nil {
		return e.unread(err), true
	}
	if !e.enter(nil) {
		return errRequest.answer(), true
	}
	how, err := e.unpack(r.Context(), body)
	e.exit()
	switch {
	case errors.Is(err, session.ErrEnded):
		return a, false
	case err != nil: // the client left while others' messages were waited for
		e.end(vanished)
		return a, false
	case how == &saidBye:
		e.leave(r)
	case how != nil:
		e.end(*how)
		return errRequest.answer(), true
	}
	return polling.Answer{Type: typeHTML, Body: []byte("ok")}, true
}

// unread answers for a body that did not come as it should. One that is too large, or
// encoded, is as if it had not been sent; with any other, messages are lost.
func (e *engine) unread(err error) polling.Answer {
	status := http.StatusBadRequest
	if refusal := (*access.Refusal)(nil); errors.As(err, &refusal) {
		status = refusal.Status
	}
	if status != http.StatusRequestEntityTooLarge && status != http.StatusUnsupportedMediaType {
		e.end(vanished)
	}
	return polling.Answer{Status: status}
}

// unpack passes on the messages of a payload, up to what ends the session, which is
// returned. A few are passed on at a time: a payload of nothing but separators would
// otherwise take many times its size.
func (e *engine) unpack(ctx context.Context, payload []byte) (*ending, error) {
	space := batches.Get().(*[batch]session.Message)
	defer func() { clear(space[:]); batches.Put(space) }()
	all := space[:0]
	for more := true; more; {
		var p packet
		var ok bool
		p, payload, more, ok = cut(payload)
		how := e.control(p, ok)
		if how == nil && p.kind == message {
			all = append(all, p.Message)
		}
		if len(all) == batch || len(all) > 0 && (how != nil || !more) {
			if err := e.pass(ctx, all...); err != nil {
				return nil, err
			}
			all = all[:0]
		}
		if how != nil {
			return how, nil
		}
	}
	return nil, nil
}

// control heeds a packet that is no message, and returns what it ends the session
// as, if so. ok is false for what is no packet. Others that a server has no use for
// are let pass.
func (e *engine) control(p packet, ok bool) *ending {
	switch {
	case !ok || p.kind == ping: // the heartbeat has one direction only
		return &breach
	case p.kind == closing:
		return &saidBye
	case p.kind == pong:
		e.ponged()
	}
	return nil
}

// leave ends the session of a client that says so by polling. A poll that it opened
// beside that may be late.
func (e *engine) leave(r *http.Request) {
	h := e.handler
	e.mu.Lock()
	if !e.over && !e.polled {
		h.late.add(e.sid, h.identify(r))
	}
	e.finish(saidBye)
}
