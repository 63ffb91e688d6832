package proxy

import (
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
	until instant // when the sockets go, once the pair is over; zero: it is not
	state looping
}

// looping is how far a looped relay has got.
type looping uint8

const (
	starting looping = iota
	running
	finished
)

// newLooped makes a relay on l, or nil if front or back is neither a plain socket
// nor TLS upon a detachable one.
func newLooped(l *loop.Loop, p *pair, front, back net.Conn) *looped {
	r := &looped{pair: p, loop: l}
	for s, c := range [2]net.Conn{front, back} {
		if !loopable(c) {
			return nil
		}
		r.lanes[s].conn = c
	}
	r.timer.Expired = r
	return r
}

func loopable(c net.Conn) bool {
	_, d := detachableIn(c)
	return socketOf(c) != nil && (d != nil || !isTLS(c))
}

// start begins to relay.
func (r *looped) start(early []byte) {
	r.loop.Do(func() {
		now := time.Now()
		r.state = running
		var failed [2]error // out of descriptors, say
		for s := range r.lanes {
			failed[s] = r.attach(&r.lanes[s])
		}
		for s, err := range failed {
			if err != nil {
				r.gone(side(s), now)
			}
		}
		if len(early) > 0 {
			r.write(client, r.pair.take(backend, early, now), now)
		}
		for s := range r.lanes {
			if r.lanes[s].tls != nil && failed[s] == nil {
				r.read(side(s), now) // what TLS read ahead no event will tell of
				r.lanes[s].letGo()
			}
		}
		r.settle(now)
	})
}

// attach moves a lane's socket onto the loop.
func (r *looped) attach(l *lane) error {
	c := l.conn.(net.Conn)
	socket := socketOf(c)
	keepUnsentLow(socket)
	err := r.loop.Add(&l.Socket, socket, r, loop.Readable)
	l.conn = vacate(c)
	if err != nil {
		return err
	}
	var d *detachable
	if l.tls, d = detachableIn(c); d != nil {
		d.lane = l
	}
	return nil
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
		r.lanes[at].turn()
		r.read(at, now)
		if r.lanes[at].tls != nil {
			r.lanes[at].turned(time.Since(now))
		}
	}
	r.settle(now)
}

// Expire serves what is due.
func (r *looped) Expire() {
	now := time.Now()
	r.tick(now)
	for s := range r.lanes {
		l := &r.lanes[s]
		l.letGo()
		if l.waits() && !now.Before(l.late.by) {
			r.stall(side(s), now)
		}
	}
	r.settle(now)
}

// stall looks at an end that has not taken all it was given for WriteTimeout. If
// it took something it has as long again: so a stall is noticed after WriteTimeout
// and at most twice that, as flow.write does.
func (r *looped) stall(s side, now time.Time) {
	switch late := r.lanes[s].late; {
	case late.moved:
		late.moved, late.by = false, now.Add(r.pair.stall)
		return
	case !late.doubted:
		late.doubted, late.by = true, now.Add(secondLook)
		return
	}
	r.lanes[s].drop()
	r.pair.resume(s.other(), now)
	r.pair.stalled(s, now)
	r.pair.unreachable(s)
}

func (r *looped) tick(now time.Time) {
	for s := range r.lanes {
		r.write(side(s).other(), r.pair.tick(side(s), now), now)
	}
}

// read takes what s sent: once, for a loop has others to serve. TLS is read until
// it has no whole record left, since no event will tell of that one.
func (r *looped) read(s side, now time.Time) {
	l, b := &r.lanes[s], r.loop.Scratch()
	for {
		n, err := l.read(b)
		r.keep(s, now)
		if n > 0 {
			r.write(s.other(), r.pair.take(s, b[:n], now), now)
			l.eof = r.pair.deaf(s)
		}
		if err != nil && err != loop.ErrWait {
			r.gone(s, now)
		}
		if err != nil || l.tls == nil {
			return
		}
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
	if len(b) == 0 {
		return
	}
	if err := r.lanes[s].write(b); err != nil {
		r.pair.lost(s, now)
	}
	r.keep(s, now)
}

// keep begins the wait for an end that did not take all it was given.
func (r *looped) keep(s side, now time.Time) {
	if late := r.lanes[s].late; late != nil && late.by.IsZero() {
		late.by = now.Add(r.pair.stall)
		r.pair.pause(s.other(), now)
	}
}

// flush sends what waits for s.
func (r *looped) flush(s side, now time.Time) {
	l := &r.lanes[s]
	if !l.waits() {
		return
	}
	moved, err := l.flush()
	if !l.waits() {
		r.pair.resume(s.other(), now)
	}
	switch {
	case err != nil:
		r.pair.lost(s, now)
	case moved:
		r.pair.took(s, now)
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
		if r.lanes[client].spent() && r.lanes[backend].spent() || r.until.reached(now) {
			r.finish()
			return
		}
	}
	for s := range r.lanes {
		if r.watch(side(s)) != nil {
			r.lanes[s].drop()
			r.pair.resume(side(s).other(), now)
			r.gone(side(s), now)
			r.settle(now) // once: a lane at its end is watched for nothing
			return
		}
	}
	r.loop.SetTimer(&r.timer, r.due(now))
}

// hangUp tells both ends that no more will come, once they have all there is, and
// gives them closeGrace.
func (r *looped) hangUp(now time.Time) {
	if r.until == 0 {
		r.until = instantOf(now.Add(closeGrace))
	}
	for s := range r.lanes {
		l := &r.lanes[s]
		if l.shut || l.waits() || !l.Open() || side(s) == backend && r.pair.proper() {
			continue
		}
		l.closeWrite()
		r.keep(side(s), now)
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
	if !l.eof && !r.lanes[s.other()].waits() {
		ev |= loop.Readable
	}
	if l.waits() {
		ev |= loop.Writable
	}
	return l.Watch(ev)
}

// due is when to look again.
func (r *looped) due(now time.Time) time.Time {
	at := r.until.time()
	for s := range r.lanes {
		at = earlier(at, r.pair.due(side(s), now))
		if l := &r.lanes[s]; l.waits() {
			at = earlier(at, l.late.by)
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
		if left := r.lanes[s].conn; left != nil {
			left.Close()
		}
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
		r.until = instantOf(now)
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
		r.lanes[client].conn.(net.Conn).SetWriteDeadline(r.pair.writeBy(r.until.time()))
	})
}
