package proxy

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"sidecar/heartbeat"
)

// A side names one end of a pair.
type side uint8

const (
	client side = iota
	backend
)

func (s side) other() side { return 1 - s }

func (s side) String() string { return [...]string{"client", "backend"}[s] }

// closeGrace is what ends have once this program has decided to end a
// connection: to reach the end of a frame so that a close frame can go out, and
// then to read it before the socket goes.
const closeGrace = time.Second

// minRate is what an end must keep up, in bytes a second, from the first byte of
// a frame to its last, after a start of Limits.WriteTimeout.
const minRate = 1024

// An end is what a pair knows of one of its two peers.
type end struct {
	walk  walker          // of what it sends
	pulse heartbeat.Pulse // of the hop to it
	// order is a close frame of ours that goes to it at the next boundary.
	order []byte
	// frameBy is when the frame it is sending must be complete; zero: none is unfinished.
	frameBy time.Time
	frame   uint32    // which one that is, by walk.begun
	pinged  time.Time // when our last ping went out; zero: it was answered, or none did
	seq     uint32    // of that ping
	ping    bool      // a ping of ours goes to it at the next boundary
	owes    []byte    // the payload of the other end's last ping, unanswered; nil: none is
	sent    bool      // it sent a close frame
	got     bool      // a close frame was sent to it
	done    bool      // nothing more of what it sends is passed on
	bytes   int64     // that it sent
	// doubt is when it was first found wanting; zero: it is not.
	doubt     time.Time
	discarded int64 // what it sent once done
	// paused is since when it is not read, because the other end is slow; zero:
	// it is read.
	paused time.Time
}

// A pair is the state of one relayed connection and all its rules, without any
// I/O: it is told what arrived and what the time is, and says what to write and
// when to be asked again. It is not safe for concurrent use. What it returns to
// be written to an end must be written before it is asked about the other side's
// bytes again; each side has one reader, who is the one writer of the other.
type pair struct {
	ends   [2]end
	stall  time.Duration // Limits.WriteTimeout
	mark   [8]byte       // of our pings; nobody but the ends of this pair sees it
	cause  string        // one of Causes, once the end is decided
	code   int           // of the first close frame that passed or was made
	reason string
	// suspect is the cause if nothing better is learnt by the time the pair must
	// be over: an end that could not be written to may have closed properly.
	suspect string
	by      time.Time     // when the pair must be over; zero: no end is in sight
	rtt     time.Duration // the last one measured towards the client
	report  reporter
}

// A reporter is told what a pair sees. Its methods must not block.
type reporter interface {
	answered(s side, rtt time.Duration)
	relayed(s side, bytes, messages int)
	ended(p *pair) // by whatever moved the bytes, once
}

func newPair(now time.Time, beat heartbeat.Policy, l Limits, ext extensions, mark [8]byte) *pair {
	p := &pair{stall: l.WriteTimeout, mark: mark}
	for s := range p.ends {
		p.ends[s].pulse = beat.Start(now, rand.Float64())
		p.ends[s].walk.rules = rules{masked: side(s) == client, deflate: ext.deflate, lax: ext.unknown, limit: l.Message}
	}
	return p
}

// take deals with bytes that arrived from s and returns what goes to the other
// end: nearly always just those bytes, uncopied.
func (p *pair) take(s side, b []byte, now time.Time) []byte {
	src := &p.ends[s]
	if src.done {
		src.discarded += int64(len(b)) // nobody got it
		return nil
	}
	src.pulse.Seen(now)
	src.doubt = time.Time{}
	size, messages := len(b), src.walk.messages
	src.bytes += int64(size)
	var out splice
	for {
		p.inject(s, &out, now)
		if src.done || len(b) == 0 {
			break
		}
		n, ev, frame, err := src.walk.next(b, p.waits(s), now)
		switch ev {
		case walked:
			out.add(b[:n])
		case completed:
			out.add(frame)
		case control:
			err = p.control(s, frame, &out, now)
		}
		if b = b[n:]; err != nil {
			p.finish(s.String()+"_violation", s, err.code, err.text, now)
			p.inject(s, &out, now) // a fault is always found between frames
			src.done = true        // what follows cannot be trusted to be frames
		}
	}
	p.clock(src, now)
	p.report.relayed(s, size, int(src.walk.messages-messages))
	return out.run
}

// waits reports whether something of ours goes to the end opposite s.
func (p *pair) waits(s side) bool {
	dst := &p.ends[s.other()]
	return dst.ping || dst.order != nil
}

// inject puts what we have to say to the end opposite s between two frames.
func (p *pair) inject(s side, out *splice, now time.Time) {
	src, dst := &p.ends[s], &p.ends[s.other()]
	if src.done || !src.walk.boundary() {
		return
	}
	if dst.order != nil {
		out.add(dst.order)
		dst.order, dst.got, src.done = nil, true, true
		return
	}
	if !dst.ping {
		return
	}
	dst.ping = false
	dst.pulse.Sent(now)
	if dst.owes == nil {
		dst.seq++
		dst.pinged = now
		payload := binary.BigEndian.AppendUint32(p.mark[:], dst.seq)
		out.add(controlFrame(opPing, payload, s == client))
	}
}

// control deals with a whole control frame from s.
func (p *pair) control(s side, frame []byte, out *splice, now time.Time) *fault {
	src, dst := &p.ends[s], &p.ends[s.other()]
	switch payload := controlPayload(frame); frame[0] & 0xf {
	case opPing:
		dst.owes = append([]byte{}, payload...)
	case opPong:
		if p.ours(s, payload, now) {
			return nil
		}
		if src.owes != nil && bytes.Equal(payload, src.owes) {
			src.owes = nil
		}
	case opClose:
		code, reason, ok := parseClose(payload)
		if !ok {
			return errCloseCode
		}
		src.sent, src.done = true, true
		dst.got, dst.order = true, nil
		p.decide(s.String()+"_close", code, reason, now.Add(p.stall))
	}
	out.add(frame)
	return nil
}

// ours reports whether a pong answers a ping of ours, and so must not pass.
func (p *pair) ours(s side, payload []byte, now time.Time) bool {
	if len(payload) != len(p.mark)+4 || !bytes.Equal(payload[:len(p.mark)], p.mark[:]) {
		return false
	}
	src := &p.ends[s]
	if binary.BigEndian.Uint32(payload[len(p.mark):]) == src.seq && !src.pinged.IsZero() {
		rtt := now.Sub(src.pinged)
		src.pinged = time.Time{}
		if s == client {
			p.rtt = rtt
		}
		p.report.answered(s, rtt)
	}
	return true
}

// clock starts and stops the time a frame from src may take. A frame that lasts
// does nobody harm but keeps our own frames out, and so our heartbeat.
func (p *pair) clock(src *end, now time.Time) {
	switch {
	case src.walk.idle() || src.done:
		src.frameBy = time.Time{}
	case src.frameBy.IsZero() || src.frame != src.walk.begun:
		src.frame = src.walk.begun
		src.frameBy = now.Add(p.stall + time.Duration(src.walk.left/minRate)*time.Second)
	}
}

// late reports whether the end takes too long over a frame, not counting time in
// which it is not read.
func (e *end) late(now time.Time) bool {
	return !e.frameBy.IsZero() && e.paused.IsZero() && !now.Before(e.frameBy)
}

// tick deals with what is due towards the end opposite s, and with a frame of s
// that takes too long, and returns what goes to that end.
func (p *pair) tick(s side, now time.Time) []byte {
	var out splice
	src := &p.ends[s]
	switch {
	case src.done:
	case !p.by.IsZero():
		if !now.Before(p.by) {
			p.expire(s, &out, now)
		}
	case src.late(now):
		if src.sure(now) {
			p.stalled(s, now)
		}
	default:
		p.beat(s.other(), now)
	}
	p.inject(s, &out, now)
	return out.run
}

// secondLook is how long a verdict of silence is put off, once, so that what came
// meanwhile is read first. A program that was stopped, or that had no processor,
// finds everybody silent; the answers wait in the sockets.
const secondLook = 200 * time.Millisecond

// sure reports whether an end that is found wanting was so for secondLook. A doubt
// that nobody followed up in time is as good as none.
func (e *end) sure(now time.Time) bool {
	if e.doubt.IsZero() || now.Sub(e.doubt) > 5*secondLook {
		e.doubt = now
		return false
	}
	return now.Sub(e.doubt) >= secondLook
}

// beat asks the heartbeat of the hop to s what is due.
func (p *pair) beat(s side, now time.Time) {
	e := &p.ends[s]
	if e.ping {
		return // it waits for a frame's end; the peer cannot answer what it did not get
	}
	if !e.paused.IsZero() {
		p.resume(s, now) // our choice, not its silence; limits.write_timeout judges
		p.pause(s, now)
	}
	switch action, _ := e.pulse.Next(now); action {
	case heartbeat.Probe:
		// Where the other end's ping is unanswered it stands for ours: an end may
		// answer only the latest ping (RFC 6455 §5.5.3), and must not be brought
		// to answer ours in place of the other's.
		if e.ping = e.owes == nil; !e.ping {
			e.pulse.Sent(now)
		}
	case heartbeat.Lost:
		if !e.sure(now) {
			return
		}
		p.finish(s.String()+"_timeout", s, codeGoingAway, "heartbeat timeout", now)
	}
}

// due is when tick must be called for s; zero: never.
func (p *pair) due(s side, now time.Time) time.Time {
	src, dst := &p.ends[s], &p.ends[s.other()]
	if src.done {
		return now.Add(closeGrace) // nothing but the pair's end, which every driver sees
	}
	if !p.by.IsZero() {
		return p.by
	}
	var at time.Time
	switch {
	case !dst.paused.IsZero():
		at = now.Add(p.stall) // its silence is ours; the pulse only moves along
	case !dst.ping:
		_, at = dst.pulse.Next(now)
		at = dst.look(at)
	}
	if !src.frameBy.IsZero() && src.paused.IsZero() {
		at = earlier(at, src.look(src.frameBy))
	}
	return at
}

// look puts a time to judge off to the second look.
func (e *end) look(at time.Time) time.Time {
	if second := e.doubt.Add(secondLook); !e.doubt.IsZero() && !at.IsZero() && at.Before(second) {
		return second
	}
	return at
}

// earlier is the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// took says that s has taken something that had to wait: a sign of life, although
// its answers may still be behind all that it has yet to read.
func (p *pair) took(s side, now time.Time) {
	p.ends[s].pulse.Seen(now)
	p.ends[s].doubt = time.Time{}
}

// pause says that s is not read from now on, until resume. None of that time
// counts against it.
func (p *pair) pause(s side, now time.Time) { p.ends[s].paused = now }

func (p *pair) resume(s side, now time.Time) {
	e := &p.ends[s]
	if e.paused.IsZero() {
		return
	}
	away := now.Sub(e.paused)
	e.paused, e.doubt = time.Time{}, time.Time{}
	e.pulse.Away(away)
	if !e.frameBy.IsZero() {
		e.frameBy = e.frameBy.Add(away)
	}
}
