package proxy

import "time"

// An instant is a time in eight bytes, where a time.Time has 24: a connection keeps
// a dozen. It is nanoseconds since origin, by the monotonic clock where there is
// one. Zero means never.
type instant int64

// origin is sixty years before the program's start, before all that it may be
// told: so no time is zero, not even a test's whose clock begins in 2000.
var origin = time.Now().Add(-60 * 365 * 24 * time.Hour)

// instantOf is t, the zero Time being never. What is centuries ahead is as good as
// the last instant.
func instantOf(t time.Time) instant {
	if t.IsZero() {
		return 0
	}
	return instant(t.Sub(origin))
}

func (i instant) time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return origin.Add(time.Duration(i))
}

// reached reports whether i, if it is ever, has come by now.
func (i instant) reached(now time.Time) bool { return i != 0 && i <= instantOf(now) }

// since is how long before now i was.
func (i instant) since(now time.Time) time.Duration { return time.Duration(instantOf(now) - i) }
