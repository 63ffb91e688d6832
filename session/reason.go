package session

import "fmt"

// A Reason is why a session has ended.
type Reason uint8

const (
	_          Reason = iota
	Closed            // the client has the backend's close
	Expired           // the client was not heard of for TTL, while away or with a close to acknowledge
	Overflowed        // a message found the window full, and Settings.Overflow is "close"
	Evicted           // the memory of all sessions was full, and the client had been away for longest or waited for room too long
	Left              // the client will not come back: it said so, or its protocol has no way
	Drained           // the program is stopping
	Broken            // the client broke its protocol
	Missed            // messages are lost that the client cannot send any more
)

var reasons = [...]string{"", "closed", "expired", "overflow", "evicted", "left", "drain", "violation", "gap"}

// Reasons are the names of all, a fixed set for metrics and logs.
var Reasons = reasons[1:]

func (r Reason) String() string { return reasons[r] }

// A Gone is what became of a session that is asked for too late.
type Gone struct{ Reason Reason }

func (g *Gone) Error() string { return fmt.Sprintf("the session has ended: %s", g.Reason) }
