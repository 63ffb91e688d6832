package proxy

import (
	"bytes"
	"io"
	"net"
	"time"

	"sidecar/loop"
)

// A looped relay moves the bytes of a pair on an epoll loop: while nothing happens
// it has no goroutine and no buffer. All of it belongs to its loop.
type looped struct {
	pair  *pair
	loop  *loop.Loop
	lanes [2]lane // by the side whose socket it is
	timer loop.Timer
	until time.Time // when the sockets go, once the pair is over; zero: it is not
	outer [2]net.Conn
	inner [2]net.Conn // the sockets, until start
	state looping
}

// looping is how far a looped relay has got.
type looping uint8

const (
	starting looping = iota
	running
	finished
)

// A lane is one socket of a looped relay.
type lane struct {
	loop.Socket
	out     []byte    // what the socket did not take; the other end is not read meanwhile
	outBy   time.Time // when it is looked at whether something was taken
	moved   bool      // something was, since that was set
	doubted bool      // it was found stalled, and gets a second look
	eof     bool      // it will not be read again
	shut    bool      // it was told that no more will come
}

// newLooped makes a relay on l, or nil if front or back is no plain socket.
func newLooped(l *loop.Loop, p *pair, front, back net.Conn) *looped {
	r := &looped{pair: p, loop: l, outer: [2]net.Conn{front, back}, inner: [2]net.Conn{innermost(front), innermost(back)}}
	if !isSocket(r.inner[client]) || !isSocket(r.inner[backend]) {
		return nil
	}
	r.timer.Expired = r
	return r
}

func isSocket(c net.Conn) bool {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// start begins to relay.
func (r *looped) start(early []byte) {
	r.loop.Do(func() {
		now := time.Now()
		r.state = running
		var failed [2]error // out of descriptors, say
		for s := range r.lanes {
			keepUnsentLow(r.inner[s])
			failed[s] = r.loop.Add(&r.lanes[s].Socket, r.inner[s], r, loop.Readable)
		}
		r.inner = [2]net.Conn{}
		for s, err := range failed {
			if err != nil {
				r.gone(side(s), now)
			}
		}
		if len(early) > 0 {
			r.write(client, r.pair.take(backend, early, now), now)
		}
		r.settle(now)
	})
}

// Ready serves one socket.
func (r *looped) Ready(s *loop.Socket, ev loop.Events) {
	now := time.Now()
	at := client
	if s == &r.lanes[backend].Socket {
		at = backend
	}
	if ev&loop.Writable != 0 {
		r.flush(at, now)
	}
	if ev&loop.Readable != 0 && r.lanes[at].Watched()&loop.Readable != 0 {
		r.read(at, now)
	}
	r.settle(now)
}

// Expire serves what is due.
func (r *looped) Expire() {
	now := time.Now()
	r.tick(now)
	for s := range r.lanes {
		if l := &r.lanes[s]; len(l.out) > 0 && !now.Before(l.outBy) {
			r.stall(side(s), now)
		}
	}
	r.settle(now)
}

// stall looks at an end that has not taken all it was given for WriteTimeout. If
// it took something it has as long again: so a stall is noticed after WriteTimeout
// and at most twice that, as flow.write does.
func (r *looped) stall(s side, now time.Time) {
	l := &r.lanes[s]
	switch {
	case l.moved:
		l.moved, l.outBy = false, now.Add(r.pair.stall)
		return
	case !l.doubted:
		l.doubted, l.outBy = true, now.Add(secondLook)
		return
	}
	l.out = nil
	r.pair.resume(s.other(), now)
	r.pair.stalled(s, now)
	r.pair.unreachable(s)
}

func (r *looped) tick(now time.Time) {
	for s := range r.lanes {
		r.write(side(s).other(), r.pair.tick(side(s), now), now)
	}
}

// read takes what s sent, once: a loop has others to serve.
func (r *looped) read(s side, now time.Time) {
	b := r.loop.Scratch()
	n, err := r.lanes[s].Read(b)
	switch {
	case err == loop.ErrWait:
	case err != nil:
		r.gone(s, now)
	default:
		r.write(s.other(), r.pair.take(s, b[:n], now), now)
		r.lanes[s].eof = r.pair.deaf(s)
	}
}

// gone says that nothing more comes from s.
func (r *looped) gone(s side, now time.Time) {
	r.lanes[s].eof = true
	r.write(s.other(), r.pair.gone(s, now), now)
}

// write sends b to s, behind what still waits. What is not taken waits, and with
// it the other end.
func (r *looped) write(s side, b []byte, now time.Time) {
	l := &r.lanes[s]
	if len(b) == 0 {
		return
	}
	if len(l.out) > 0 {
		l.out = append(l.out, b...)
		return
	}
	n, err := 0, error(io.ErrClosedPipe)
	if l.Open() {
		n, err = l.Write(b)
	}
	if err != nil && err != loop.ErrWait {
		r.pair.lost(s, now)
		return
	}
	if n < len(b) {
		l.out, l.outBy, l.moved, l.doubted = bytes.Clone(b[n:]), now.Add(r.pair.stall), n > 0, false
		r.pair.pause(s.other(), now)
	}
}

// flush sends what waits for s.
func (r *looped) flush(s side, now time.Time) {
	l := &r.lanes[s]
	if len(l.out) == 0 {
		return
	}
	n, err := l.Write(l.out)
	if err != nil && err != loop.ErrWait {
		l.out = nil
		r.pair.resume(s.other(), now)
		r.pair.lost(s, now)
		return
	}
	if n > 0 {
		l.moved, l.doubted = true, false
		r.pair.took(s, now)
	}
	if l.out = l.out[n:]; len(l.out) == 0 {
		l.out = nil
		r.pair.resume(s.other(), now)
	}
}

// settle brings everything into line with the pair: what goes out now that the
// pair was decided, what is watched, when to look again, and the end.
func (r *looped) settle(now time.Time) {
	for was := (stage{}); was != r.pair.stage(); {
		was = r.pair.stage()
		r.tick(now)
	}
	if r.pair.over() {
		r.hangUp(now)
		if r.lanes[client].eof && r.lanes[backend].eof && r.waiting() == 0 || !now.Before(r.until) {
			r.finish()
			return
		}
	}
	for s := range r.lanes {
		if r.watch(side(s)) != nil {
			r.lanes[s].out = nil
			r.pair.resume(side(s).other(), now)
			r.gone(side(s), now)
			r.settle(now) // once: a lane at its end is watched for nothing
			return
		}
	}
	r.loop.SetTimer(&r.timer, r.due(now))
}

func (r *looped) waiting() int { return len(r.lanes[client].out) + len(r.lanes[backend].out) }

// hangUp tells both ends that no more will come, once they have all there is, and
// gives them closeGrace.
func (r *looped) hangUp(now time.Time) {
	if r.until.IsZero() {
		r.until = now.Add(closeGrace)
	}
	for s := range r.lanes {
		l := &r.lanes[s]
		if l.shut || len(l.out) > 0 || !l.Open() || side(s) == backend && r.pair.proper() {
			continue
		}
		l.shut = true
		l.CloseWrite()
	}
}

// watch asks for just what can be used: an end is read only while the other takes
// what it sends. It fails where the kernel's own bound on watches is reached.
func (r *looped) watch(s side) error {
	l := &r.lanes[s]
	if !l.Open() {
		return nil
	}
	var ev loop.Events
	if !l.eof && len(r.lanes[s.other()].out) == 0 {
		ev |= loop.Readable
	}
	if len(l.out) > 0 {
		ev |= loop.Writable
	}
	return l.Watch(ev)
}

// due is when to look again.
func (r *looped) due(now time.Time) time.Time {
	at := r.until
	for s := range r.lanes {
		at = earlier(at, r.pair.due(side(s), now))
		if l := &r.lanes[s]; len(l.out) > 0 {
			at = earlier(at, l.outBy)
		}
	}
	if at.IsZero() {
		return now.Add(24 * time.Hour) // nothing is due; looking costs nothing
	}
	return at
}

func (r *looped) finish() {
	r.state = finished
	r.loop.StopTimer(&r.timer)
	for s := range r.lanes {
		r.lanes[s].Close()
		r.outer[s].Close() // its socket is closed; this is for whoever counts connections
	}
	r.pair.report.ended(r.pair)
}

// shutdown asks both ends to close.
func (r *looped) shutdown(code int, reason string) {
	r.decide(func(now time.Time) { r.pair.shut(code, reason, now) })
}

// cut ends the relay at once.
func (r *looped) cut() {
	r.decide(func(now time.Time) {
		r.pair.decide("drain", codeGoingAway, "", now)
		r.pair.cut()
		r.until = now
	})
}

// decide changes the pair from outside the loop.
func (r *looped) decide(change func(now time.Time)) {
	r.loop.Do(func() {
		if r.state == finished {
			return
		}
		now := time.Now()
		change(now)
		if r.state == running {
			r.settle(now)
			return
		}
		// The greeting is still being written, to a client that may take nothing.
		r.outer[client].SetWriteDeadline(r.pair.writeBy(r.until))
	})
}
