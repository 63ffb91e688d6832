package resumable

import (
	"time"

	"sidecar/protocol/resume/wire"
)

// acknowledgeLocked sees to the ACK of what came or was read (§7.4).
func (c *Conn) acknowledgeLocked() {
	if c.err != nil || !c.in.news() || c.used == nil {
		return
	}
	if c.in.due(min(c.in.window, c.welcome.Window)) {
		c.ackDue = true
		c.used.nudge()
		return
	}
	if !c.keep.ackWaits {
		c.keep.ackWaits = true
		c.ackTimer.Reset(c.ackDelayLocked())
	}
}

// ackDelayLocked is how long an ACK may wait for something to go with.
func (c *Conn) ackDelayLocked() time.Duration {
	if c.used.kind == wire.Stream {
		return 5 * time.Second
	}
	return time.Second
}

// ackNow is what the timer does.
func (c *Conn) ackNow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep.ackWaits = false
	if c.err == nil && c.in.news() {
		c.ackDue = true
		c.used.nudge()
	}
}
