package resume

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"sidecar/protocol/resume/wire"
	"sidecar/session"
)

// ackTime is the longest that a message waits for its ACK (§7.4).
const ackTime = time.Second

// An up is what goes to the backend. It waits here and not in a carrier's way: who
// reads a carrier never waits for the backend (§7.5), and hands on only what need not
// wait. The client's lock guards it.
type up struct {
	assembly wire.Assembly
	queue    []session.Message // whole, and not yet handed on
	first    uint64            // the number of the first
	size     int64             // what they count for in the window
	parting  *parting          // follows them
	handed   uint64            // the last that the backend's socket has
	told     wire.Ack          // the last that went by the carrier in use
	since    int64             // what was handed on since then
	due      time.Time         // when the next must go; zero: there is nothing to tell
	counted  int64             // what of all this counts in Sessions.Held
	short    time.Time         // since when what came was put off, for want of memory; zero: it was not
	handing  bool              // a goroutine hands on
	deaf     bool              // nothing more goes to the backend
}

// A parting is what goes to the backend last.
type parting struct {
	number uint64
	close  session.Close
	// verdict is what the client is told in place of the backend's answer; nil: that.
	verdict *session.Close
}

// Faults that end the session (§12).
var (
	errFlood     = errors.New("a message was begun beyond the window")
	errAck       = errors.New("what was acknowledged was not sent")
	errViolation = errors.New("the client broke the protocol")
)

// position is what there is to acknowledge.
func (u *up) position() wire.Ack { return u.assembly.Ack(u.handed) }

// news reports whether the client does not know it yet.
func (u *up) news() bool { return u.position() != u.told }

// tell is position, which the client is about to be told. It counts only by the carrier
// in use: the client drops the others when it likes, and what they were to bring is lost
// with them. Nobody would then say it again to a client that waits for room (§7.4).
func (u *up) tell(used bool) wire.Ack {
	if used {
		u.told, u.since, u.due = u.position(), 0, time.Time{}
	}
	return u.position()
}

// data takes a piece of a message. The error is wire.ErrGap or ends the session.
func (c *client) data(d wire.Data, now time.Time) error {
	u := &c.up
	if u.deaf || u.parting != nil && u.parting.verdict != nil {
		return nil
	}
	fresh := u.assembly.Held() == 0 && d.Number == u.assembly.Ack(0).Next()
	if fresh && d.Offset == 0 && u.size >= c.handler.Session.Window {
		return errFlood
	}
	if err := c.fits(d, now); err != nil {
		return err
	}
	message, whole, err := u.assembly.Add(d)
	switch {
	case errors.Is(err, wire.ErrLarge):
		u.parting = &parting{d.Number, session.Close{Code: codeGoingAway}, &session.Close{Code: codeTooBig, Reason: "message is too large"}}
		return nil
	case err != nil:
		return err
	case !whole:
		return nil
	case fresh: // it is lent
		message = slices.Clone(message)
	}
	if len(u.queue) == 0 {
		u.first = d.Number
	}
	m := session.Message{Binary: d.Binary, Data: message}
	u.queue = append(u.queue, m)
	u.size += counts(m)
	c.owe(now)
	return nil
}

// owe has an ACK follow in time.
func (c *client) owe(now time.Time) {
	if c.up.due.IsZero() {
		c.up.due = now.Add(ackTime)
		c.clock.by(c, c.up.due, now)
	}
}

// counts is what a message counts for in a window (§7.5).
func counts(m session.Message) int64 { return int64(len(m.Data)) + wire.Overhead }

// closes takes the client's close (§8.2).
func (c *client) closes(f wire.Close, now time.Time) error {
	u := &c.up
	if u.deaf || u.parting != nil && u.parting.verdict != nil {
		return nil
	}
	taken, err := u.assembly.Close(f.Number)
	if err != nil || !taken {
		return err
	}
	said := session.Close{Code: f.Code, Reason: f.Reason}
	if !mayClose(f.Code) {
		said = session.Close{Code: codeGoingAway}
	}
	u.parting = &parting{number: f.Number, close: said}
	u.due = now // at once, as soon as it was handed on (§7.4)
	if f.Code == codeGoingAway {
		c.bye = now.Add(byeTime)
		c.clock.by(c, c.bye, now)
	}
	return nil
}

// mayClose reports whether a client may close with that code.
func mayClose(code int) bool {
	switch {
	case code >= codeNormal && code <= codeBroken, code == codeNoStatus, code >= codeInvalid && code <= codeFailed:
		return true
	}
	return code >= codeApps && code <= lastCode
}

// waits reports whether there is something to hand on, and nobody does. It is to
// be asked once: somebody does from then on.
func (u *up) waits() bool {
	if u.handing || u.deaf || len(u.queue) == 0 && u.parting == nil {
		return false
	}
	u.handing = true
	return true
}

// batches are lent to hand, and to Reader.Take.
var batches = sync.Pool{New: func() any { return new([batch]session.Message) }}

const (
	batch      = 32
	batchBytes = 64 << 10
)

// hand hands on what waits, until nothing does.
func (c *client) hand() {
	for c.handSome(batchBytes) {
	}
}

// A ready backend says whether it takes so many bytes without a wait.
type ready interface{ Ready(n int) bool }

// atOnce is how many messages that may be. Each has its own write, and for each the kernel
// counts up to 768 bytes more: of little ones the smallest send buffer, 4.5 KiB, holds six.
const atOnce = 4

// handAtOnce is hand for who reads a carrier, and must not wait for the backend: another
// goroutine does it where that might have to be waited for, and has what is left behind
// one batch. A goroutine costs as much as the write. size is that of what waited when it
// became the caller's, of count messages: what another carrier has brought since was not asked
// for.
func (c *client) handAtOnce(count int, size int64) {
	b, ok := c.backend.(ready)
	if !ok || count > atOnce || !b.Ready(int(size)) || c.handSome(size) {
		go c.hand()
	}
}

// handSome hands on one batch, of at most so many bytes, and reports whether there is more.
func (c *client) handSome(most int64) (more bool) {
	space := batches.Get().(*[batch]session.Message)
	defer func() { clear(space[:]); batches.Put(space) }()
	c.mu.Lock()
	first, all, size := c.up.take(space[:0], most)
	last := c.up.parting
	if len(all) == 0 && last == nil { // it has ended
		c.up.handing = false
		c.mu.Unlock()
		return false
	}
	if len(all) == 0 {
		c.up.parting = nil
		c.up.deaf = c.up.deaf || last.verdict != nil // what still comes is no gap: nobody waits for it
	}
	c.mu.Unlock()
	var received uint64
	var err error
	if len(all) > 0 {
		received, err = c.session.Send(context.Background(), first, all...)
	} else {
		received, err = c.part(last)
	}
	c.mu.Lock()
	a := c.handed(received, size, err)
	more = len(c.up.queue) > 0 || c.up.parting != nil
	c.up.handing = more
	c.mu.Unlock()
	c.do(a)
	return more
}

// take takes a batch off the queue, of at most so many bytes or a single message.
func (u *up) take(buf []session.Message, most int64) (first uint64, all []session.Message, size int64) {
	for _, m := range u.queue {
		if len(buf) == cap(buf) || len(buf) > 0 && size+counts(m) > most {
			break
		}
		size += counts(m)
		buf = append(buf, m)
	}
	first = u.first
	u.first += uint64(len(buf))
	clear(u.queue[:len(buf)])
	if u.queue = u.queue[len(buf):]; len(u.queue) == 0 {
		u.queue = nil
	}
	return first, buf, size
}

// part gives the backend what comes last.
func (c *client) part(last *parting) (received uint64, err error) {
	if last.verdict == nil {
		return c.session.SendClose(context.Background(), last.number, last.close)
	}
	c.session.DeliverClose(*last.verdict)
	c.backend.Close(last.close)
	return c.session.Received(), session.ErrClosing
}

// handed says how far the backend's socket is. After an error nothing more goes
// there: its close is on the way.
func (c *client) handed(received uint64, size int64, err error) (a aftermath) {
	u := &c.up
	if c.over != 0 {
		return a
	}
	u.handed = max(u.handed, received)
	u.size -= size
	u.since += size
	if err != nil {
		u.deaf, u.queue, u.parting, u.size = true, nil, nil, 0
	}
	c.count()
	a.reply = c.answerSends(time.Now())
	if !u.news() {
		return a
	}
	now := time.Now()
	if u.due.IsZero() {
		c.owe(now)
	}
	if u.since >= c.window()/2 || !now.Before(u.due) {
		a.stir = c.urge()
	}
	return a
}

// window is the smaller of the two, which says when an ACK is due (§7.4).
func (c *client) window() int64 { return min(c.down.window, c.handler.Session.Window) }

// urge has an ACK go by whoever can take it. The caller holds mu.
func (c *client) urge() []*carrier {
	k := c.current
	if k == nil || !k.way.ready() {
		for _, other := range c.carriers {
			if other.way.ready() {
				k = other
			}
		}
	}
	if k == nil {
		return nil
	}
	k.urgent = true
	return []*carrier{k}
}
