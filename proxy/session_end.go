package proxy

import (
	"errors"
	"io"
	"time"

	"sidecar/session"
)

// finish says how it ended: to the peer, if it can still be told, and to the owner.
func (h *hop) finish(err error) {
	h.mu.Lock()
	now := time.Now()
	h.frameBy, h.busy = 0, true // silence is no matter any more
	var bad *fault
	switch errors.As(err, &bad); {
	case bad != nil:
		h.heard = nil // a close is judged before the messages that came with it
		h.fail(session.Close{Code: bad.code, Reason: bad.text}, violated(h.terms.side, bad), now)
	case h.heard != nil:
		if h.order == nil {
			h.order = h.heard
		}
	default:
		h.told, h.order = true, nil // nobody is left to tell
	}
	h.hurry(now.Add(closeGrace), now)
	h.stir()
	end := h.end()
	h.mu.Unlock()
	h.owner.ended(end)
}

// end is what the owner is told. The caller holds mu.
func (h *hop) end() session.Close {
	switch {
	case h.verdict != nil:
		return *h.verdict
	case h.heard != nil:
		return *h.heard
	case h.terms.side == client:
		return session.Close{Code: codeAbnormal}
	}
	return session.Close{Code: told(client, "backend_gone")}
}

// violated is what the owner is told when the peer broke the rules.
func violated(s side, bad *fault) session.Close {
	if s == client {
		return session.Close{Code: bad.code, Reason: bad.text}
	}
	return session.Close{Code: told(client, "backend_violation")}
}

// leave lets the last frames arrive, and ends the connection: closing it with bytes
// unread would reset it, and destroy what is on its way.
func (h *hop) leave() {
	h.mu.Lock()
	for h.writing {
		h.await()
	}
	// A server ends the connection first (RFC 6455 §7.1.1), after a proper close.
	proper := h.heard != nil && h.terms.side == backend
	h.mu.Unlock()
	if !proper {
		h.closeWrite()
	}
	if h.over == nil || !errors.Is(h.over, io.EOF) {
		h.discard()
	}
	h.stream.Close()
	h.mu.Lock()
	h.dead = true
	if h.timer != nil {
		h.timer.Stop()
	}
	h.mu.Unlock()
	h.done()
}

// discard reads on until the peer ends, time is up, or it is too much.
func (h *hop) discard() {
	h.release()
	h.stayUp()
	for n := 0; n < maxDiscard; {
		b, err := h.read()
		h.release()
		if n += len(b); err != nil {
			return
		}
	}
}

// done says that one of the hop's goroutines has ended.
func (h *hop) done() {
	h.mu.Lock()
	h.running--
	last := h.running == 0
	h.mu.Unlock()
	if last {
		h.live.remove(h.place)
	}
}
