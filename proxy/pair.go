package proxy

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"time"
	"unique"

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

// An end is what a pair knows of one of its two peers. There are two in each
// connection, most of them idle: what few need is in a parting.
type end struct {
	walk  walker          // of what it sends
	pulse heartbeat.Pulse // of the hop to it
	// frameBy is when the frame it is sending must be complete; zero: none is unfinished.
	frameBy instant
	pinged  instant // when our last ping went out; zero: it was answered, or none did
	owes    *string // the payload of the other end's last ping, unanswered; nil: none is
	bytes   int64   // that it sent
	doubt   instant // when it was first found wanting; zero: it is not
	// paused is since when it is not read, because the other end is slow; zero:
	// it is read.
	paused instant
	seq    uint32 // of our last ping
	ping   bool   // a ping of ours goes to it at the next boundary
	sent   bool   // it sent a close frame
	got    bool   // a close frame was sent to it
	done   bool   // nothing more of what it sends is passed on
}

// Terms are what the pairs of a route have in common, and share.
type terms struct {
	beat  heartbeat.Policy
	rules [2]rules
}

// A pair is the state of one relayed connection and all its rules, without any
// I/O: it is told what arrived and what the time is, and says what to write and
// when to be asked again. It is not safe for concurrent use. What it returns to
// be written to an end must be written before it is asked about the other side's
// bytes again; each side has one reader, who is the one writer of the other.
type pair struct {
	ends  [2]end
	terms unique.Handle[terms]
	stall time.Duration // Limits.WriteTimeout
	mark  [8]byte       // of our pings; nobody but the ends of this pair sees it
	cause string        // one of Causes, once the end is decided
	last  *parting      // nil: no end is in sight
	by    instant       // when the pair must be over; zero: no end is in sight
	rtt   time.Duration // the last one measured towards the client

	report reporter
}

// A reporter is told what a pair sees. Its methods must not block.
type reporter interface {
	answered(s side, rtt time.Duration)
	relayed(s side, bytes, messages int)
	ended(p *pair) // by whatever moved the bytes, once
}

func newPair(now time.Time, beat heartbeat.Policy, l Limits, ext extensions, mark [8]byte) *pair {
	p := &pair{stall: l.WriteTimeout, mark: mark}
	t := terms{beat: beat}
	for s := range p.ends {
		p.ends[s].pulse = beat.Start(now, rand.Float64())
		t.rules[s] = rules{masked: side(s) == client, deflate: ext.deflate, lax: ext.unknown, limit: l.Message}
	}
	p.terms = unique.Make(t)
	return p
}

// take deals with bytes that arrived from s and returns what goes to the other
// end: nearly always just those bytes, uncopied.
func (p *pair) take(s side, b []byte, now time.Time) []byte {
	src := &p.ends[s]
	if src.done {
		p.parting().discarded[s] += int64(len(b)) // nobody got it
		return nil
	}
	src.pulse.Seen(now)
	src.doubt, src.ping = 0, false // life needs no ping
	rules := p.terms.Value().rules[s]
	size, messages := len(b), src.walk.messages
	src.bytes += int64(size)
	var out splice
	for {
		p.inject(s, &out, now)
		if src.done || len(b) == 0 {
			break
		}
		n, ev, frame, err := src.walk.next(b, p.waits(s), now, &rules)
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
	return p.ends[s.other()].ping || p.order(s.other()) != nil
}

// inject puts what we have to say to the end opposite s between two frames.
func (p *pair) inject(s side, out *splice, now time.Time) {
	src, dst := &p.ends[s], &p.ends[s.other()]
	if src.done || !src.walk.boundary() {
		return
	}
	if order := p.order(s.other()); order != nil {
		out.add(order)
		p.last.order[s.other()] = nil
		dst.got, src.done = true, true
		return
	}
	if !dst.ping {
		return
	}
	dst.ping = false
	if dst.paused != 0 { // its answer would wait unread, and some give up writing it for good
		dst.pulse.Seen(now)
		return
	}
	dst.pulse.Sent(now)
	if dst.owes == nil {
		dst.seq++
		dst.pinged = instantOf(now)
		var payload [12]byte
		copy(payload[:], p.mark[:])
		binary.BigEndian.PutUint32(payload[len(p.mark):], dst.seq)
		out.add(controlFrame(opPing, payload[:], s == client))
	}
}

// control deals with a whole control frame from s.
func (p *pair) control(s side, frame []byte, out *splice, now time.Time) *fault {
	src, dst := &p.ends[s], &p.ends[s.other()]
	var room [maxControl]byte // garbage for each ping would double what thousands of idle connections make
	switch payload := appendPayload(room[:0], frame); frame[0] & 0xf {
	case opPing:
		ping := string(payload)
		dst.owes = &ping
	case opPong:
		if p.ours(s, payload, now) {
			return nil
		}
		if src.owes != nil && string(payload) == *src.owes {
			src.owes = nil
		}
	case opClose:
		code, reason, ok := parseClose(payload)
		if !ok {
			return errCloseCode
		}
		src.sent, src.done = true, true
		dst.got = true
		p.unorder(s.other())
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
	if binary.BigEndian.Uint32(payload[len(p.mark):]) == src.seq && src.pinged != 0 {
		rtt := src.pinged.since(now)
		src.pinged = 0
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
		src.frameBy = 0
	case src.frameBy == 0 || src.walk.begun:
		src.frameBy = instantOf(now.Add(p.stall + time.Duration(src.walk.left/minRate)*time.Second))
	}
	src.walk.begun = false
}

// late reports whether the end takes too long over a frame, not counting time in
// which it is not read.
func (e *end) late(now time.Time) bool { return e.paused == 0 && e.frameBy.reached(now) }

// tick deals with what is due towards the end opposite s, and with a frame of s
// that takes too long, and returns what goes to that end.
func (p *pair) tick(s side, now time.Time) []byte {
	var out splice
	src := &p.ends[s]
	switch {
	case src.done:
	case p.by != 0:
		if p.by.reached(now) {
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
	if e.doubt == 0 || e.doubt.since(now) > 5*secondLook {
		e.doubt = instantOf(now)
		return false
	}
	return e.doubt.since(now) >= secondLook
}

// beat asks the heartbeat of the hop to s what is due.
func (p *pair) beat(s side, now time.Time) {
	e := &p.ends[s]
	if e.ping {
		return // it waits for a frame's end; the peer cannot answer what it did not get
	}
	if e.paused != 0 {
		p.resume(s, now) // our choice, not its silence; limits.write_timeout judges
		p.pause(s, now)
	}
	switch action, _ := e.pulse.Next(p.terms.Value().beat, now); action {
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
	if p.by != 0 {
		return p.by.time()
	}
	var at time.Time
	switch {
	case dst.paused != 0:
		at = now.Add(p.stall) // its silence is ours; the pulse only moves along
	case !dst.ping:
		_, at = dst.pulse.Next(p.terms.Value().beat, now)
		at = dst.look(at)
	}
	if src.frameBy != 0 && src.paused == 0 {
		at = earlier(at, src.look(src.frameBy.time()))
	}
	return at
}

// look puts a time to judge off to the second look.
func (e *end) look(at time.Time) time.Time {
	if e.doubt == 0 || at.IsZero() {
		return at
	}
	if second := e.doubt.time().Add(secondLook); at.Before(second) {
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
	p.ends[s].doubt = 0
}

// pause says that s is not read from now on, until resume. None of that time
// counts against it.
func (p *pair) pause(s side, now time.Time) { p.ends[s].paused = instantOf(now) }

func (p *pair) resume(s side, now time.Time) {
	e := &p.ends[s]
	if e.paused == 0 {
		return
	}
	away := e.paused.since(now)
	e.paused, e.doubt = 0, 0
	e.pulse.Away(away)
	if e.frameBy != 0 {
		e.frameBy = instantOf(e.frameBy.time().Add(away))
	}
}
