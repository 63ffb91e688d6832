package proxy

import "time"

// How a pair ends: why, what each end is told, and by when it is over.

// A parting is what a pair knows of its end, beside the cause.
type parting struct {
	code   int // of the first close frame that passed or was made
	reason string
	// suspect is the cause if nothing better is learnt by the time the pair must
	// be over: an end that could not be written to may have closed properly.
	suspect   string
	order     [2][]byte // a close frame of ours for each end, to go at the next boundary
	discarded [2]int64  // what each end sent once done
}

// parting is the pair's, made when it is first needed.
func (p *pair) parting() *parting {
	if p.last == nil {
		p.last = &parting{}
	}
	return p.last
}

// order is the close frame that is to go to s; nil: none is.
func (p *pair) order(s side) []byte {
	if p.last == nil {
		return nil
	}
	return p.last.order[s]
}

// unorder takes back the order for s.
func (p *pair) unorder(s side) {
	if p.last != nil {
		p.last.order[s] = nil
	}
}

// word is the code and reason of the pair's end, once there is a cause.
func (p *pair) word() (code int, reason string) {
	if p.last == nil {
		return 0, ""
	}
	return p.last.code, p.last.reason
}

// gone says that the socket of s has ended: nothing more comes from it, and
// nothing reaches it. It returns what goes to the other end.
func (p *pair) gone(s side, now time.Time) []byte {
	src := &p.ends[s]
	p.finish(s.String()+"_gone", s, codeAbnormal, "", now)
	var out splice
	p.inject(s, &out, now)
	src.done = true
	p.unreachable(s)
	return out.run
}

// lost says that writing to s failed. What s sent before, perhaps a close frame,
// may still wait to be read, and goes its way; but not for ever.
func (p *pair) lost(s side, now time.Time) {
	p.unreachable(s)
	p.parting().suspect = s.String() + "_gone"
	p.hurry(now.Add(closeGrace))
}

// unreachable says that nothing more can be written to s.
func (p *pair) unreachable(s side) {
	p.unorder(s)
	p.ends[s].ping = false
	p.ends[s.other()].done = true
}

// stalled says that s takes nothing, or does not finish a frame.
func (p *pair) stalled(s side, now time.Time) {
	p.finish(s.String()+"_stalled", s, codePolicy, "too slow", now)
}

// finish decides the end of the pair over s: s is told the code and reason, the
// other end that s is no more.
func (p *pair) finish(cause string, s side, code int, reason string, now time.Time) {
	p.tell(s, code, reason)
	p.tell(s.other(), told(s.other(), cause), "")
	p.decide(cause, code, reason, now.Add(closeGrace))
}

// told is the code that s hears when the other end is the cause. A client hears
// 1012 when the backend's socket ended without a close, as it does when a backend
// stops or crashes, so that it may come back soon; and 1011 when the backend is
// there but does not work: silent, stuck or breaking the protocol. A backend hears
// 1001, whatever befell the client. An end that waits for the answer to its own
// close hears the same, never an answer in the other's name: it would take what it
// sent before for delivered.
func told(s side, cause string) int {
	switch {
	case s == backend:
		return codeGoingAway
	case cause == "backend_gone":
		return codeRestarting
	}
	return codeInternal
}

// shut decides the end of the pair for this program's own reasons.
func (p *pair) shut(code int, reason string, now time.Time) {
	p.tell(client, code, reason)
	p.tell(backend, code, reason)
	p.decide("drain", code, reason, now.Add(closeGrace))
}

// tell orders a close frame for s, if one can still reach it.
func (p *pair) tell(s side, code int, reason string) {
	e := &p.ends[s]
	if e.got || p.order(s) != nil || p.ends[s.other()].done {
		return
	}
	p.parting().order[s] = closeFrame(code, reason, s == backend)
}

// decide records why the pair ends, the first time, and by when it must be over.
func (p *pair) decide(cause string, code int, reason string, by time.Time) {
	if p.cause == "" {
		last := p.parting()
		p.cause, last.code, last.reason = cause, code, reason
	}
	p.hurry(by)
}

// hurry brings forward the time by which the pair must be over.
func (p *pair) hurry(by time.Time) {
	if at := instantOf(by); p.by == 0 || at < p.by {
		p.by = at
	}
}

// expire gives up on a frame of s that does not end, or an answer from it that
// does not come. The other end still hears of it where a close frame fits.
func (p *pair) expire(s side, out *splice, now time.Time) {
	if p.cause == "" {
		p.decide(p.parting().suspect, codeAbnormal, "", now)
	}
	p.tell(s.other(), told(s.other(), p.cause), "")
	p.inject(s, out, now)
	p.ends[s].done = true
}

// cut gives up on everything at once.
func (p *pair) cut() { p.ends[client].done, p.ends[backend].done = true, true }

// writeBy is when whatever is being written is given up, once the pair's end is in
// sight; zero: it is not. until is when the sockets go, zero where that is not
// known yet. What the ends are told last may itself take closeGrace.
func (p *pair) writeBy(until time.Time) time.Time {
	switch {
	case !until.IsZero():
		return until
	case p.by != 0:
		return p.by.time().Add(closeGrace)
	}
	return time.Time{}
}

// maxDiscard is how much is read of an end, and thrown away, after its last word
// or ours. A close of ours could get lost in the reset that follows, but whoever
// goes on like that is not waiting for it.
const maxDiscard = 4 << 20

// deaf reports whether s is not worth reading any more.
func (p *pair) deaf(s side) bool { return p.last != nil && p.last.discarded[s] > maxDiscard }

// over reports whether nothing more is to be written to either end.
func (p *pair) over() bool { return p.ends[client].done && p.ends[backend].done }

// proper reports whether the backend had its closing handshake. Then, being the
// server, it may end the connection first (RFC 6455 §7.1.1): whoever does keeps its
// port busy for a minute, and the ports towards one backend are few.
func (p *pair) proper() bool { return p.ends[backend].sent && p.ends[backend].got }

// A stage is how near a pair is to its end; drivers compare it to know when the
// other direction must look again.
type stage struct {
	by    instant
	over  bool
	order [2]bool
}

func (p *pair) stage() stage {
	return stage{p.by, p.over(), [2]bool{p.order(client) != nil, p.order(backend) != nil}}
}
