package proxy

import (
	"errors"
	"net"
	"os"
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
	deaf  bool      // src is not worth reading any more
}

func newRelay(p *pair, front, back net.Conn) *relay {
	r := &relay{pair: p, left: 2}
	f, b := newStream(front), newStream(back)
	for _, s := range []*stream{f, b} {
		if !isTLS(s.Conn) {
			s.SetWriteDeadline(time.Now().Add(p.stall)) // write depends on there being one
		}
	}
	r.flows[client] = flow{relay: r, side: client, src: f, dst: b}
	r.flows[backend] = flow{relay: r, side: backend, src: b, dst: f}
	return r
}

// start begins to relay. early are bytes that came from the backend with its
// handshake. What it starts ends by itself, and reports it.
func (r *relay) start(early []byte) {
	r.forget(r.flows[client].src)
	go r.flows[client].run(nil)
	go r.flows[backend].run(early)
}

// forget ends the time that TLS had for a write, in the greeting or later: none may be
// left behind, for its reader writes too, to answer a KeyUpdate.
func (r *relay) forget(s *stream) {
	if !isTLS(s.Conn) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.SetWriteDeadline(r.pair.writeBy(r.until))
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
		if limit := r.pair.writeBy(r.until); !limit.IsZero() {
			f.dst.SetWriteDeadline(limit)
		}
	}
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
	late := isLate(err)
	out := f.step(b, err, late, now)
	if len(out) > 0 {
		f.wrote(f.write(out, now), now)
	}
	return (err == nil || late) && !f.deaf
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
	f.deaf = p.deaf(f.side)
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

// A write that waited longer than this is a sign of life of its receiver once it
// is through; shorter, and it may only have been our own scheduling.
const waited = 100 * time.Millisecond

// wrote takes the outcome of a write that began at since into account.
func (f *flow) wrote(err error, since time.Time) {
	r, p := f.relay, f.relay.pair
	to := f.side.other()
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	was := p.stage()
	p.resume(f.side, now)
	switch {
	case err == nil && now.Sub(since) > waited:
		p.took(to, now)
	case err == nil:
	case errors.Is(err, errStalled):
		p.stalled(to, now)
		p.unreachable(to)
	default:
		p.lost(to, now)
	}
	f.noted(was)
}

// write writes all of b to dst, whose only writer it is. A deadline is set at
// most once in WriteTimeout, not for every write: when it passes, what counts is
// whether anything went out meanwhile. So a stall is noticed after WriteTimeout
// and at most twice that.
func (f *flow) write(b []byte, since time.Time) error {
	if isTLS(f.dst.Conn) { // a write that timed out has broken it, as crypto/tls documents
		return f.writeTLS(b, since)
	}
	for doubted := false; ; {
		n, err := f.dst.Write(b)
		if err == nil {
			return nil
		}
		if !isLate(err) {
			return err
		}
		if n > 0 {
			b, since, doubted = b[n:], time.Now(), false
		}
		if f.patience(since.Add(f.relay.pair.stall)) {
			continue
		}
		if doubted || !f.patience(time.Now().Add(secondLook)) {
			return errStalled
		}
		doubted = true
	}
}

// writeTLS writes all of b, or breaks the connection: crypto/tls cannot go on after
// a write that timed out.
func (f *flow) writeTLS(b []byte, since time.Time) error {
	f.patience(since.Add(f.relay.pair.stall))
	_, err := f.dst.Write(b)
	if err == nil {
		f.relay.forget(f.dst)
		return nil
	}
	f.dst.half = nil // after half a record TLS cannot say any more
	if isLate(err) {
		return errStalled
	}
	return err
}

// patience moves dst's write deadline to limit, or to what the pair's end leaves,
// and reports whether that is still to come.
func (f *flow) patience(limit time.Time) bool {
	f.relay.mu.Lock()
	defer f.relay.mu.Unlock()
	if by := f.relay.pair.writeBy(f.relay.until); !by.IsZero() && by.Before(limit) {
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
	f.hangUp()
	r, p := f.relay, f.relay.pair
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	at := p.due(f.side, now)
	if p.over() {
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

// hangUp tells dst that no more will come, once the pair is over. It is called
// without the lock: TLS has a last word to write.
func (f *flow) hangUp() {
	r := f.relay
	r.mu.Lock()
	due := !f.shut && r.pair.over() && !(f.side == client && r.pair.proper())
	f.shut = f.shut || due
	r.mu.Unlock()
	if due {
		f.dst.closeWrite()
	}
}

// leave ends the flow. One that ends before the other has already shut dst down
// or could not reach it.
func (f *flow) leave() {
	f.hangUp()
	r := f.relay
	r.mu.Lock()
	r.left--
	last := r.left == 0
	r.mu.Unlock()
	if last {
		f.src.Close()
		f.dst.Close()
		r.pair.report.ended(r.pair)
	}
}

// isLate reports whether a deadline of ours has passed. The kernel's own ETIMEDOUT
// is something else: the end of the connection.
func isLate(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
