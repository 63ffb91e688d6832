package session

import "time"

// An Observer is told what happens to sessions. Its methods are called from many
// goroutines, and must not wait nor call a session.
type Observer interface {
	// Opened: a session has begun.
	Opened()
	// Ended: it has ended, so long after it began.
	Ended(why Reason, age time.Duration)
	// Attached: a carrier has the reader, for the first time or again, after its
	// client was away for that long; 0 where it takes over from another carrier.
	Attached(away time.Duration)
	// Passed: a message went to the backend (up), or came from it.
	Passed(up bool, bytes int)
	// Skipped: so many messages of a client had come before.
	Skipped(messages int)
	// Paused: a window is full, and the backend is not read.
	Paused()
}

// nobody observes nothing.
type nobody struct{}

func (nobody) Opened()                     {}
func (nobody) Ended(Reason, time.Duration) {}
func (nobody) Attached(time.Duration)      {}
func (nobody) Passed(bool, int)            {}
func (nobody) Skipped(int)                 {}
func (nobody) Paused()                     {}
