package resume

import (
	"errors"
	"time"

	"sidecar/protocol/resume/wire"
)

// What clients send is held until it is whole and the backend has taken it. It counts
// among what all sessions hold; where that is as much as they may, a session holds slack
// of it. What is beyond that is dropped as behind a gap, and so comes again, but not at
// once. Sessions that each have some of a large message could wait for each other for
// ever: so one that has been put off for shortTime ends, and makes room.
const (
	slack     = wire.MaxPayload
	shortTime = 20 * time.Second
)

var (
	errShort   = errors.New("sessions hold as much as they may")
	errStarved = errors.New("sessions have held as much as they may for too long")
)

// fits reports errShort or errStarved where there is no memory for a piece. The caller
// holds mu.
func (c *client) fits(d wire.Data, now time.Time) error {
	u := &c.up
	held := u.assembly.Held()
	grows := int64(d.Offset) + int64(len(d.Payload)) - held
	if d.Number != u.assembly.Ack(0).Next() || grows <= 0 || u.size+held+grows <= slack {
		return nil // it came before, or is a gap, or small
	}
	switch {
	case !c.handler.Sessions.Short():
		u.short = time.Time{}
		return nil
	case u.short.IsZero():
		u.short = now
	case now.Sub(u.short) >= shortTime:
		return errStarved
	}
	return errShort
}

// count has Sessions know what is held. The caller holds mu.
func (c *client) count() {
	if c.over != 0 {
		return
	}
	if n := c.up.size + c.up.assembly.Held(); n != c.up.counted {
		c.handler.Sessions.Hold(n - c.up.counted)
		c.up.counted = n
	}
}
