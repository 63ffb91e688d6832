// Package wire is what resumable sessions look like on the wire: frames, the JSON
// of the handshake, messages cut into fragments and put together again, tokens
// and the keys of openings. docs/protocol.md is the specification; its section
// numbers are named here.
//
// Everything is a pure value: nothing here reads, writes, waits or knows a clock.
// The server's handler and the Go client share it.
package wire

import "errors"

// What is wrong with the bytes of the other side: each error of this package is
// one of these, with details.
var (
	// ErrCut: the bytes end inside a frame.
	ErrCut = errors.New("the bytes end inside a frame")
	// ErrType: a frame of a type that nobody knows.
	ErrType = errors.New("unknown type of frame")
	// ErrLong: a frame is longer than its type may be.
	ErrLong = errors.New("frame is too long")
	// ErrNumber: a varint is not in its shortest form, or beyond MaxNumber.
	ErrNumber = errors.New("bad varint")
	// ErrBody: a frame's body is not what its type asks for.
	ErrBody = errors.New("bad body of a frame")
	// ErrGap: something lies beyond what has not come yet (§7.3). It was not taken.
	ErrGap = errors.New("what comes before has not come yet")
	// ErrContrary: what came contradicts what came before (§7.3).
	ErrContrary = errors.New("fragments contradict each other")
	// ErrLarge: a message is larger than messages may be (§7.3).
	ErrLarge = errors.New("message is too large")
)

// The bounds of §3 and §4.
const (
	// MaxNumber is the largest number on the wire, 2^53 - 1: each is exact in
	// JavaScript.
	MaxNumber = 1<<53 - 1
	// MaxPayload is the most bytes of a message in one DATA.
	MaxPayload = 64 << 10
	// MinFragment is the least bytes in a DATA that is not the last of its message.
	MinFragment = 1 << 10
	// MaxBody is the most bytes of one WebSocket message and of one request's body.
	MaxBody = 128 << 10
	// MaxReason is the most bytes of a close's reason (RFC 6455 §5.5).
	MaxReason = 123
	// Overhead is what a message counts for in a window, beside its bytes.
	Overhead = 64
)

const (
	maxJSON  = 8 << 10
	maxPad   = 4 << 10
	maxOther = 4 << 10
	maxID    = 128
	maxToken = 64
	maxPing  = 8
	maxVar   = 8
)
