package resume

import (
	"errors"
	"time"

	"sidecar/protocol/resume/wire"
	"sidecar/session"
)

// A taken is what came of frames of the client's.
type taken struct {
	after   aftermath
	short   bool   // some of that was for want of memory
	dropped bool   // some DATA or CLOSE was, for what comes before it has not come
	data    bool   // there was some
	pinged  bool   // there was a PING
	mark    []byte // its mark
	err     error  // what is wrong with them; the rest did not count
}

// take takes frames that are not the first of their WebSocket or request. The caller
// holds mu.
func (c *client) take(frames []byte, now time.Time) (t taken) {
	for len(frames) > 0 && t.err == nil && c.over == 0 {
		var f wire.Frame
		if f, frames, t.err = wire.Split(frames); t.err == nil {
			t.err = c.frame(f, now, &t)
		}
		if errors.Is(t.err, wire.ErrGap) {
			t.dropped, t.err = true, nil
		}
		if errors.Is(t.err, errShort) {
			t.short, t.dropped, t.err = true, true, nil
		}
	}
	c.count()
	if c.up.waits() {
		t.after.hand = true
	}
	switch {
	case isBreach(t.err):
		t.after.why = session.Broken
	case errors.Is(t.err, errStarved):
		t.after.why = session.Evicted
	}
	return t
}

// isBreach reports whether an error ends the session, and not the carrier alone (§12).
func isBreach(err error) bool {
	return errors.Is(err, wire.ErrContrary) || errors.Is(err, errAck) || errors.Is(err, errFlood)
}

// frame takes one. The caller holds mu.
func (c *client) frame(f wire.Frame, now time.Time, t *taken) error {
	switch f.Type {
	case wire.TypeData:
		d, err := wire.ParseData(f.Body)
		if err != nil {
			return err
		}
		t.data = true
		return c.data(d, now)
	case wire.TypeAck:
		return c.acked(f, t)
	case wire.TypeClose:
		said, err := wire.ParseClose(f.Body)
		if err != nil {
			return err
		}
		t.data = true
		return c.closes(said, now)
	case wire.TypeUse:
		u, err := wire.ParseUse(f.Body)
		if err != nil {
			return err
		}
		t.after.add(c.use(u))
		return nil
	case wire.TypePing:
		t.pinged, t.mark = true, f.Body
		return nil
	}
	return wire.CheckNext(f)
}

// acked takes an ACK. The caller holds mu.
func (c *client) acked(f wire.Frame, t *taken) error {
	a, err := wire.ParseAck(f.Body)
	if err != nil {
		return err
	}
	was := c.down.open
	last, err := c.down.ack(a)
	if err != nil {
		return err
	}
	t.after.ack = max(t.after.ack, last)
	if k := c.current; k != nil && was >= c.down.window && c.down.open < was {
		t.after.stir = append(t.after.stir, k) // it waited for that
	}
	return nil
}

// add adds what else is to be done.
func (a *aftermath) add(b aftermath) {
	a.ack = max(a.ack, b.ack)
	a.hand = a.hand || b.hand
	a.part = a.part || b.part
	a.read = a.read || b.read
	a.stir = append(a.stir, b.stir...)
	a.end = append(a.end, b.end...)
	a.reply = append(a.reply, b.reply...)
	if b.why != 0 {
		a.why = b.why
	}
}
