package resumable

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
	"unicode/utf8"

	"sidecar/protocol/resume/wire"
)

// A Type says whether a message is text or binary.
type Type int

// The types, as RFC 6455 §5.6 numbers them. A Text is UTF-8.
const (
	Text   Type = 1
	Binary Type = 2
)

// A Conn is one WebSocket conversation with a backend, whatever it goes by. All
// methods may be called at the same time by several goroutines.
type Conn struct {
	o        Options
	ws, post *url.URL
	client   *http.Client
	attempt  string
	plain    *plain // where the server is no sidecar; set before Dial returns

	ctx    context.Context // of the carriers
	cancel context.CancelFunc
	renew  func() func()  // leaves connections that may be dead; what it returns closes them
	idle   func()         // closes connections, when no request needs one
	wg     sync.WaitGroup // of the carriers
	over   chan struct{}  // closed when all goroutines have ended
	opened chan struct{}  // closed when the first WELCOME came
	ended  chan struct{}  // closed when err is there
	reads  chan struct{}  // held by who reads
	writes chan struct{}  // and by who writes
	came   chan struct{}  // something for who reads
	room   chan struct{}  // and for who writes
	kick   chan struct{}  // something for the keeper

	mu       sync.Mutex
	err      error // that ended it; guarded, and fixed once ended is closed
	out      outbox
	in       inbox
	tokens   tokens
	welcome  *wire.Welcome // the newest
	carriers []*carrier    // begun and proven ones
	used     *carrier      // the proven one that messages go by
	turn     uint64
	born     uint64 // generations
	ackDue   bool
	ackTimer *time.Timer // runs while something is to be acknowledged later
	rtt      time.Duration
	upMost   int // bytes of messages in a request
	keep     keeper
}

// Subprotocol is the one the backend chose; empty for none.
func (c *Conn) Subprotocol() string {
	if c.plain != nil {
		return c.plain.protocol
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keep.protocol
}

// Buffered is how many bytes of written messages are not acknowledged yet: what the
// backend's socket has not taken, as far as is known. At most the server's window
// and one message. It is 0 where Transport is Plain.
func (c *Conn) Buffered() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(c.out.bytes)
}

// Transport is what messages come by now: None between two carriers.
func (c *Conn) Transport() Transport {
	if c.plain != nil {
		return Plain
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.transportLocked()
}

func (c *Conn) transportLocked() Transport {
	if c.used == nil {
		return None
	}
	return Transport(c.used.kind)
}

// Read returns the next message. It waits through changes of transport and times
// without one. Messages come once and in the order they were sent, and with a
// message's return it may be acknowledged. After the last one Read returns, again and
// again, what ended the conversation: a *CloseError, a *Gone or another error. When ctx
// ends first, Read returns its error; nothing is lost and the connection lives on.
//
// Who does not read stops the backend once the window is full.
func (c *Conn) Read(ctx context.Context) (Type, []byte, error) {
	if c.plain != nil {
		return c.plain.read(ctx)
	}
	if err := hold(ctx, c.reads); err != nil {
		return 0, nil, err
	}
	defer func() { <-c.reads }()
	for {
		m, ok, err := c.take()
		if ok {
			return typeOf(m.binary), m.data, nil
		}
		if err != nil {
			return 0, nil, err
		}
		select {
		case <-c.came:
		case <-c.ended:
		case <-ctx.Done():
			return 0, nil, fmt.Errorf("reading: %w", context.Cause(ctx))
		}
	}
}

func typeOf(binary bool) Type {
	if binary {
		return Binary
	}
	return Text
}

// hold takes a place of one, or gives up with ctx.
func hold(ctx context.Context, place chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("waiting for another goroutine: %w", context.Cause(ctx))
	}
	select {
	case place <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for another goroutine: %w", context.Cause(ctx))
	}
}

// take is the next message that is there, or the end behind the last one.
func (c *Conn) take() (m message, ok bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok = c.in.read()
	if ok {
		c.acknowledgeLocked()
		return m, ok, nil
	}
	return m, false, c.err
}

// Write queues a message behind all that were written before, keeping no hold of p,
// and returns nil once it is there. It is then sent as soon as there is a transport, and
// again by the next one until the server acknowledges that the backend's socket took
// it: once, unless the connection ends without that. Buffered tells how much is
// not acknowledged.
//
// While messages not acknowledged fill the server's window (Options.Window) Write waits; so
// at most the window and one message are kept. When ctx ends meanwhile, the message was not
// queued. Text that is not UTF-8 is an error, and so is a message larger than the
// server takes (ErrTooLarge); both do no harm to the connection.
//
// Where Transport is Plain, Write waits for the socket instead. When ctx ends within a
// message nothing more can be written.
func (c *Conn) Write(ctx context.Context, t Type, p []byte) error {
	if t != Binary && (t != Text || !utf8.Valid(p)) {
		return errors.New("writing: type must be Binary, or Text with UTF-8")
	}
	if c.plain != nil {
		return c.plain.write(ctx, t, p)
	}
	if err := hold(ctx, c.writes); err != nil {
		return err
	}
	defer func() { <-c.writes }()
	for {
		if done, err := c.queue(t, p); done || err != nil {
			return err
		}
		select {
		case <-c.room:
		case <-c.ended:
		case <-ctx.Done():
			return fmt.Errorf("writing: %w", context.Cause(ctx))
		}
	}
}

// queue takes a message if there is room.
func (c *Conn) queue(t Type, p []byte) (done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return false, c.err
	case c.out.close != nil:
		return false, ErrClosed
	case c.welcome.Message > 0 && uint64(len(p)) > c.welcome.Message:
		return false, fmt.Errorf("%w: %d bytes, and %d are allowed", ErrTooLarge, len(p), c.welcome.Message)
	case c.out.full():
		return false, nil
	}
	c.out.add(t == Binary, append([]byte(nil), p...))
	c.used.nudge()
	return true, nil
}

// CheckNetwork is for who learns that the network changed or that the machine slept: a
// wait before reconnecting ends, and a carrier that does not answer in 2 s is given up.
func (c *Conn) CheckNetwork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return // no carrier is begun behind the end
	}
	c.checkLocked(time.Now())
	signal(c.kick)
}

// signal leaves a word for one who waits.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
