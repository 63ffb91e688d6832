package loop

import (
	"math"
	"time"
)

// tick is how exactly timers are kept: one fires up to two ticks late, never early.
const tick = 10 * time.Millisecond

// A Timer calls back once, on its loop. The zero value is not set. It must not be
// copied while it is set, nor be of two loops.
type Timer struct {
	// Expired is called when the time has come; the timer is then not set.
	Expired     Expirer
	next, prev  *Timer
	at          uint64
	level, slot uint8
	set         bool
}

// An Expirer is told that a timer's time has come.
type Expirer interface{ Expire() }

// ticks is the tick that t is in.
func (l *Loop) ticks(t time.Time) uint64 { return uint64(t.Sub(l.start) / tick) }

// SetTimer sets t to expire at the time at, in place of any time that was set. It
// may be called only within a callback or Do.
func (l *Loop) SetTimer(t *Timer, at time.Time) {
	l.wheel.remove(t)
	const last = math.MaxInt64 - tick // centuries ahead; beyond it rounding up would be the past
	ticks := uint64((min(max(0, at.Sub(l.start)), last) + tick - 1) / tick)
	l.wheel.add(t, ticks)
}

// StopTimer unsets t; it need not be set.
func (l *Loop) StopTimer(t *Timer) { l.wheel.remove(t) }
