package polling

import "time"

const (
	// lately is how long a client's messages are thought of.
	lately = 100 * time.Millisecond
	// longest is the most that an answer lingers.
	longest = 5 * time.Millisecond
)

// A Linger says how long an answer waits for more replies, so that those that
// belong together leave together. Only an answer with fewer messages than the client
// itself sent lately (100 ms), and was not answered yet, waits: one that nobody asked
// for, and the only reply to the only message, leave at once. No answer waits for
// longer than 5 ms. The zero Linger is ready. It is a pure value and knows no clock.
type Linger struct {
	begun       time.Time // of the half of lately that is counted in late
	early, late int       // messages of the client that no answer left for, in two halves of lately
	since       time.Time // when the present answer began to wait; zero: none does
}

// Sent counts n messages of the client.
func (l *Linger) Sent(n int, now time.Time) {
	l.turn(now)
	l.late += n
}

// Wait says how long an answer with so many messages waiting is to wait for more.
// 0: it leaves now, and its messages are counted as replies. Otherwise Wait is to
// be called again after that time, or when there are more messages before.
func (l *Linger) Wait(waiting int, now time.Time) time.Duration {
	l.turn(now)
	if waiting < l.early+l.late {
		if l.since.IsZero() {
			l.since = now
		}
		if left := longest - now.Sub(l.since); left > 0 {
			return left
		}
	}
	l.since = time.Time{}
	rest := max(0, waiting-l.early)
	l.early = max(0, l.early-waiting)
	l.late = max(0, l.late-rest)
	return 0
}

// turn forgets what is no longer lately.
func (l *Linger) turn(now time.Time) {
	switch age := now.Sub(l.begun); {
	case age >= lately:
		l.early, l.late, l.begun = 0, 0, now
	case age >= lately/2:
		l.early, l.late, l.begun = l.late, 0, l.begun.Add(lately/2)
	}
}
