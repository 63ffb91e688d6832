// Package loop watches many sockets with few goroutines: an idle socket costs a
// descriptor and a small struct, no goroutine and no buffer. It exists on Linux;
// elsewhere Start fails with errors.ErrUnsupported, and its users do without.
//
// A Loop runs one callback at a time. Whatever belongs to a loop's sockets and
// timers is touched only within a callback or Do, and needs no other lock.
package loop

import "errors"

// ErrUnsupported is what Start returns where there is no epoll.
var ErrUnsupported = errors.ErrUnsupported

// ScratchSize is how much a callback can read at once.
const ScratchSize = 64 << 10

// Events are what a socket is watched for, or has come.
type Events uint32

const (
	Readable Events = 1 << iota // there is something to read, or the end, or an error
	Writable                    // something can be written again
)

// A Handler is told what happens to a socket.
type Handler interface {
	// Ready says what can now be done without waiting. It is a hint: what it
	// promises may be gone by the time it runs.
	Ready(s *Socket, ev Events)
}

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
