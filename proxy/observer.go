package proxy

import "time"

// An Observer is told what happens on one route. Its methods are called from
// many goroutines at once, must not block, and get strings from fixed sets only.
type Observer interface {
	// Refused: a handshake was turned away before the backend was asked:
	// "handshake" (malformed) or the Reason of an access.Refusal.
	Refused(reason string)
	// Dialed: the backend was asked for a connection. outcome is "ok",
	// "refused" (it answered, but not with 101), "invalid", "timeout", "error",
	// or "canceled" (the client left meanwhile).
	Dialed(outcome string, took time.Duration)
	// Opened: a connection is being relayed.
	Opened()
	// Closed: it ended, for one of Causes.
	Closed(cause string, age time.Duration)
	// Relayed: bytes arrived, and so many data messages ended among them; up is
	// from the client.
	Relayed(up bool, bytes, messages int)
	// Answered: one of our pings was answered. hop is "client" or "backend".
	Answered(hop string, rtt time.Duration)
}

// Causes are what a relayed connection can end by, the fixed set that Observer
// and the log use.
var Causes = []string{
	"client_close", "backend_close", // a close frame, from whom
	"client_gone", "backend_gone", // the socket ended without one
	"client_timeout", "backend_timeout", // silent for heartbeat interval + timeout
	"client_stalled", "backend_stalled", // took nothing, or left a frame unfinished, for too long
	"client_violation", "backend_violation", // broke the protocol or a limit
	"drain", // this program is stopping
}

// Nobody observes nothing.
type nobody struct{}

func (nobody) Refused(string)                 {}
func (nobody) Dialed(string, time.Duration)   {}
func (nobody) Opened()                        {}
func (nobody) Closed(string, time.Duration)   {}
func (nobody) Relayed(bool, int, int)         {}
func (nobody) Answered(string, time.Duration) {}
