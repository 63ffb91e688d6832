// Package loop watches many sockets with few goroutines: an idle socket costs a
// descriptor and a small struct, no goroutine and no buffer. So it is on Linux.
// Elsewhere, and with the build tag loop_portable, there is a stand-in that keeps
// the same promises but has two goroutines and up to 128 KiB for each socket: it
// is for behaviour and not for figures. Native tells which one this is.
//
// A Loop runs one callback at a time. Whatever belongs to a loop's sockets and
// timers is touched only within a callback or Do, and needs no other lock.
package loop

import "errors"

// ErrWait is what Read and Write return when nothing can be done now: the
// handler hears when it can, if the socket is watched for it.
var ErrWait = errors.New("nothing can be done now")

// ErrStopped is what Add returns once the loop was stopped.
var ErrStopped = errors.New("the loop was stopped")

// ScratchSize is how much a callback can read at once.
const ScratchSize = 64 << 10

// Events are what a socket is watched for, or has come.
type Events uint8

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
