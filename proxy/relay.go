package proxy

import (
	"errors"
	"net"
	"sync"
	"time"
)

// errStalled is a write of which nothing went out for Limits.WriteTimeout.
var errStalled = errors.New("no progress in writing")

// A relay moves the bytes of a pair with two goroutines, one for each direction:
// each reads one end and is the other's only writer.
type relay struct {
	mu    sync.Mutex // guards pair, never held while reading or writing
	pair  *pair
	flows [2]flow // by the side that is read
	left  int     // flows that still run
	until time.Time
}

// A flow is one direction: from the end it is named after to the other.
type flow struct {
	relay *relay
	side  side
	src   *stream
	dst   *stream
	armed time.Time // the read deadline of src; zero: none
	shut  bool      // dst was told that no more will come
}

func newRelay(p *pair, front, back net.Conn) *relay {
	r := &relay{pair: p, left: 2}
	f, b := newStream(front), newStream(back)
	r.flows[client] = flow{relay: r, side: client, src: f, dst: b}
	r.flows[backend] = flow{relay: r, side: backend, src: b, dst: f}
	return r
}

// start begins to relay. early are bytes that came from the backend with its
// handshake. What it starts ends by itself, and reports it.
func (r *relay) start(early []byte) {
	go r.flows[client].run(nil)
	go r.flows[backend].run(early)
}

// shutdown asks both ends to close.
func (r *relay) shutdown(code int, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pair.shut(code, reason, time.Now())
	r.wake()
}

// cut ends the relay at once, without a close frame where one has not gone out.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.pair.decide("drain", codeGoingAway, "", now)
	r.pair.cut()
	r.until = now
	r.wake()
	for s := range r.flows {
		r.flows[s].dst.SetWriteDeadline(now)
	}
}

// wake makes both flows look at the pair again. The caller holds mu; so does
// whoever sets a deadline, or a wake could be lost.
func (r *relay) wake() {
	for s := range r.flows {
		f := &r.flows[s]
		f.armed = time.Unix(1, 0)
		f.src.SetReadDeadline(f.armed)
		if limit := r.writeBy(); !limit.IsZero() {
			f.dst.SetWriteDeadline(limit)
		}
	}
}

// writeBy is when whatever is being written is given up, once the pair's end is in
// sight; zero: it is not. What the ends are told last may itself take closeGrace.
func (r *relay) writeBy() time.Time {
	switch {
	case !r.until.IsZero():
		return r.until
	case !r.pair.by.IsZero():
		return r.pair.by.Add(closeGrace)
	}
	return time.Time{}
}

// run is the life of one direction.
func (f *flow) run(early []byte) {
	defer f.leave()
	if len(early) > 0 {
		f.pass(early, nil)
	}
	for f.rearm() {
		b, err := f.src.read()
		more := f.pass(b, err)
		f.src.release()
		if !more {
			return
		}
	}
}

// pass deals with what a read brought, and reports whether to go on reading.
func (f *flow) pass(b []byte, err error) bool {
	now := time.Now()
	late := isTimeout(err)
	out := f.step(b, err, late, now)
	if len(out) > 0 {
		f.wrote(f.write(out, now))
	}
	return err == nil || late
}

// step asks the pair what to write.
func (f *flow) step(b []byte, err error, late bool, now time.Time) []byte {
	r, p := f.relay, f.relay.pair
	r.mu.Lock()
	defer r.mu.Unlock()
	was := p.stage()
	var out []byte
	if len(b) > 0 {
		out = p.take(f.side, b, now)
	}
	switch {
	case late:
		f.armed = time.Time{}
		out = append(out, p.tick(f.side, now)...)
	case err != nil:
		out = append(out, p.gone(f.side, now)...)
	}
	if len(out) > 0 {
		p.pause(f.side, now)
	}
	f.noted(was)
	return out
}

// noted wakes both flows where the end of the pair has come into sight or nearer.
// The caller holds the relay's lock.
func (f *flow) noted(was stage) {
	if f.relay.pair.stage() != was {
		f.relay.wake()
	}
}

// wrote takes the outcome of a write into account.
func (f *flow) wrote(err error) {
	r, p := f.relay, f.relay.pair
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	was := p.stage()
	p.resume(f.side, now)
	if err != nil {
		if errors.Is(err, errStalled) {
			p.stalled(f.side.other(), now)
			p.unreachable(f.side.other())
		} else {
			p.lost(f.side.other(), now)
		}
	}
	f.noted(was)
}

// write writes all of b to dst, whose only writer it is. A deadline is set at
// most once in WriteTimeout, not for every write: when it passes, what counts is
// whether anything went out meanwhile. So a stall is noticed after WriteTimeout
// and at most twice that.
func (f *flow) write(b []byte, since time.Time) error {
	if f.dst.isTLS() {
		f.dst.SetWriteDeadline(since.Add(f.relay.pair.stall))
	}
	for {
		n, err := f.dst.Write(b)
		if err == nil {
			return nil
		}
		if !isTimeout(err) {
			return err
		}
		if n > 0 {
			b, since = b[n:], time.Now()
		}
		if f.dst.isTLS() || !f.patience(since) {
			return errStalled
		}
	}
}

// patience moves dst's write deadline to when a write that has made no progress
// since then is given up, and reports whether that is still to come.
func (f *flow) patience(since time.Time) bool {
	f.relay.mu.Lock()
	defer f.relay.mu.Unlock()
	limit := since.Add(f.relay.pair.stall)
	if by := f.relay.writeBy(); !by.IsZero() && by.Before(limit) {
		limit = by
	}
	if !time.Now().Before(limit) {
		return false
	}
	f.dst.SetWriteDeadline(limit)
	return true
}

// rearm sets the read deadline to when the pair must be looked at next, and
// reports whether there is anything to wait for. When the pair is over it shuts
// dst down and waits for src's end, up to closeGrace, so that no reset destroys
// the last frames.
func (f *flow) rearm() bool {
	r, p := f.relay, f.relay.pair
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	at := p.due(f.side, now)
	if p.over() {
		f.hangUp()
		if r.until.IsZero() {
			r.until = now.Add(closeGrace)
		}
		at = r.until
		if !now.Before(at) {
			return false
		}
	}
	if !at.IsZero() && (f.armed.IsZero() || at.Before(f.armed)) {
		f.armed = at
		f.src.SetReadDeadline(at)
	}
	return true
}

// hangUp tells dst that no more will come, once the pair is over. The caller
// holds the relay's lock.
func (f *flow) hangUp() {
	p := f.relay.pair
	if f.shut || !p.over() || f.side == client && p.proper() {
		return
	}
	f.shut = true
	f.dst.closeWrite()
}

// leave ends the flow. One that ends before the other has already shut dst down
// or could not reach it.
func (f *flow) leave() {
	r := f.relay
	r.mu.Lock()
	r.left--
	last := r.left == 0
	f.hangUp()
	r.mu.Unlock()
	if last {
		f.src.Close()
		f.dst.Close()
		r.pair.report.ended(r.pair)
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
