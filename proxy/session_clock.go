package proxy

import (
	"time"

	"sidecar/heartbeat"
	"sidecar/session"
)

// arm sets the timer to when something is due next. The caller holds mu.
func (h *hop) arm(now time.Time) {
	if h.dead || h.severed {
		return
	}
	at := h.by.time()
	if h.by == 0 {
		if !h.ping {
			_, at = h.pulse.Next(h.terms.beat, now)
		}
		at = earlier(at, h.frameBy.time())
		if second := h.doubt.time().Add(secondLook); h.doubt != 0 && !at.IsZero() && at.Before(second) {
			at = second
		}
	}
	next := instantOf(at)
	if next == 0 || h.rings != 0 && h.rings <= next {
		return // it rings before that, and sets itself anew
	}
	h.rings = next
	if h.timer == nil {
		h.timer = time.AfterFunc(at.Sub(now), h.tick)
	} else {
		h.timer.Reset(at.Sub(now))
	}
}

// tick does what is due.
func (h *hop) tick() {
	h.mu.Lock()
	now := time.Now()
	h.rings = 0
	over := h.by.reached(now)
	switch {
	case h.dead || h.severed:
	case over:
		h.severed = true
		if h.verdict == nil && h.heard == nil && h.terms.side == backend && !h.busy && !h.broken {
			h.verdict = &session.Close{Code: told(client, "backend_timeout")}
		}
	case h.by != 0:
	case h.busy:
		h.pulse.Seen(now)
		h.pinged = 0 // the answer may wait unread, and would take that for the way
		if h.frameBy != 0 {
			h.frameBy = instantOf(now.Add(h.terms.limits.WriteTimeout))
		}
	case h.frameBy.reached(now):
		if h.sure(now) {
			h.fail(session.Close{Code: codePolicy, Reason: "too slow"}, h.silent("stalled"), now)
		}
	default:
		h.beat(now)
	}
	h.arm(now)
	h.mu.Unlock()
	if over {
		h.cut()
	}
}

// beat asks the heartbeat what is due. The caller holds mu.
func (h *hop) beat(now time.Time) {
	if h.ping {
		return // it waits for a frame's end, and write_timeout judges
	}
	switch action, _ := h.pulse.Next(h.terms.beat, now); action {
	case heartbeat.Probe:
		h.ping = true
		h.stir()
	case heartbeat.Lost:
		if h.sure(now) {
			h.fail(session.Close{Code: codeGoingAway, Reason: "heartbeat timeout"}, h.silent("timeout"), now)
		}
	}
}

// sure reports whether the peer was found wanting before: what came meanwhile is
// read first.
func (h *hop) sure(now time.Time) bool {
	if h.doubt == 0 || h.doubt.since(now) > 5*secondLook {
		h.doubt = instantOf(now)
		return false
	}
	return h.doubt.since(now) >= secondLook
}

// silent is what the owner is told of a peer that does not work.
func (h *hop) silent(how string) session.Close {
	if h.terms.side == client {
		return session.Close{Code: codeAbnormal}
	}
	return session.Close{Code: told(client, "backend_"+how)}
}
