package resumable

import (
	"errors"
	"fmt"

	"sidecar/protocol/resume/wire"
)

// A CloseError is the end that the backend, or Close here, gave the conversation.
// All messages before it were read.
type CloseError struct {
	Code   int    // as in RFC 6455 §7.4; 1005: none was given
	Reason string // at most 123 bytes of UTF-8
}

func (e *CloseError) Error() string { return fmt.Sprintf("closed with %d %q", e.Code, e.Reason) }

// A Gone is an end of the session that nobody agreed on: what was written and not
// acknowledged has an unknown fate.
type Gone struct {
	// Reason is one of docs/protocol.md §9.2: unknown, expired, closed, left,
	// overflow, evicted, drain, gap, violation, or a newer one.
	Reason string
}

func (e *Gone) Error() string { return fmt.Sprintf("the session is gone: %s", e.Reason) }

// A Refused is a server's no to an opening.
type Refused struct {
	Status int    // the backend's to its handshake, or the server's own: 200 to 599
	Text   string // for developers; at most 200 bytes
}

func (e *Refused) Error() string { return fmt.Sprintf("refused with status %d: %q", e.Status, e.Text) }

var (
	// ErrClosed is returned by Write after CloseWrite, and by Read and Write after
	// CloseNow and after a Close that got no answer. Once the conversation has ended
	// otherwise Write returns what Read does, after an answered Close the *CloseError.
	ErrClosed = errors.New("the connection is closed")
	// ErrTooLarge is returned by Write for a message larger than the server takes.
	// The connection lives.
	ErrTooLarge = errors.New("message is too large for the server")
	// ErrUnreachable ends Dial where no carrier got through, and a connection that
	// reached nobody for so long that its session must be over.
	ErrUnreachable = errors.New("server cannot be reached")
)

// A fault is what the server did against the protocol and ends the session (§12).
type fault struct {
	code int // of the CLOSE that the server gets
	err  error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func breach(code int, format string, args ...any) error {
	return &fault{code, fmt.Errorf(format, args...)}
}

// A carrierError is what ended a carrier of an opening.
type carrierError struct {
	kind wire.Kind
	err  error
}

func (e *carrierError) Error() string { return fmt.Sprintf("%s: %v", e.kind, e.err) }
func (e *carrierError) Unwrap() error { return e.err }

var (
	errRotated  = errors.New("the stream ended for the next")
	errSilent   = errors.New("the server is silent")
	errNoAnswer = errors.New("no answer in time")
	errMute     = errors.New("something on the way holds streams back")
	errDropped  = errors.New("another carrier took over")
	errDeaf     = errors.New("the server takes no messages")
	errStray    = errors.New("welcomed to another session")
)
