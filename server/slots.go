package server

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

// slots bound the client sockets of all listeners together. At the bound accept
// waits, and the kernel's backlog holds who comes meanwhile: they are served as
// soon as somebody leaves, and nobody is reset.
type slots struct {
	free   chan struct{} // one token for each socket that may still be opened
	closed chan struct{} // a socket was closed: its descriptor may be had again
	log    *slog.Logger
	paused func() // told of each wait

	mu     sync.Mutex
	logged time.Time // when a wait was last logged
}

// logEvery is the least time between two log lines about waits.
const logEvery = time.Minute

func newSlots(n int, log *slog.Logger, paused func()) *slots {
	s := &slots{free: make(chan struct{}, n), closed: make(chan struct{}, 1), log: log, paused: paused}
	for range n {
		s.free <- struct{}{}
	}
	return s
}

// open is how many sockets are open, give or take one for each listener that
// stands in accept.
func (s *slots) open() int { return cap(s.free) - len(s.free) }

// wait counts a wait and logs the first in each logEvery. One line for each wait
// would let strangers fill the disk.
func (s *slots) wait(why string) {
	s.paused()
	s.mu.Lock()
	due := s.logged.IsZero() || time.Since(s.logged) >= logEvery
	if due {
		s.logged = time.Now()
	}
	s.mu.Unlock()
	if due {
		s.log.Warn("accepting no more clients until some leave", "why", why, "client_sockets", s.open(), "most", cap(s.free))
	}
}

// release gives a socket's token back.
func (s *slots) release() {
	s.free <- struct{}{}
	select {
	case s.closed <- struct{}{}:
	default:
	}
}

// limited is a listener whose connections each hold a token from before they
// are accepted until they are closed, hijacked or not.
type limited struct {
	net.Listener
	slots *slots
	once  sync.Once
	done  chan struct{}
}

func limit(l net.Listener, s *slots) *limited {
	return &limited{Listener: l, slots: s, done: make(chan struct{})}
}

// Accept takes a token before it asks the kernel: a socket accepted without one
// would cost the descriptor that the bound is there to save.
func (l *limited) Accept() (net.Conn, error) {
	if err := l.take(); err != nil {
		return nil, err
	}
	for delay := 10 * time.Millisecond; ; delay = min(2*delay, time.Second) {
		c, err := l.Listener.Accept()
		if err == nil {
			return &conn{Conn: c, slots: l.slots}, nil
		}
		if !outOfDescriptors(err) || l.rest(delay) != nil {
			l.slots.release()
			return nil, err
		}
	}
}

func (l *limited) take() error {
	select {
	case <-l.slots.free:
		return nil
	case <-l.done:
		return net.ErrClosed
	default:
	}
	l.slots.wait("limits of client sockets reached")
	select {
	case <-l.slots.free:
		return nil
	case <-l.done:
		return net.ErrClosed
	}
}

// rest waits after accept failed for want of a descriptor: until one of ours is
// free again, or for delay, since others in the system may have had it.
func (l *limited) rest(delay time.Duration) error {
	l.slots.wait("out of descriptors")
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-l.slots.closed:
		return nil
	case <-t.C:
		return nil
	case <-l.done:
		return net.ErrClosed
	}
}

func outOfDescriptors(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Close ends Accept wherever it waits.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

// A conn gives its token back when it is first closed.
type conn struct {
	net.Conn
	slots *slots
	once  sync.Once
}

// Close gives the token back after the descriptor, never before.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.slots.release)
	return err
}

// Vacate says that the socket was taken out of c, and returns what its new owner
// must close once the socket is. c, and what the socket was wrapped in, need then
// not be kept as long as the socket lives.
func (c *conn) Vacate() io.Closer {
	t := &token{}
	c.once.Do(func() { t.slots = c.slots })
	return t
}

// A token is what is left of a conn whose socket was taken.
type token struct{ slots *slots } // nil: it was given back

// Close gives the token back.
func (t *token) Close() error {
	if t.slots != nil {
		t.slots.release()
		t.slots = nil
	}
	return nil
}

// NetConn is the socket beneath, for who reads and writes it directly. It is
// not to be closed by itself.
func (c *conn) NetConn() net.Conn { return c.Conn }

// CloseWrite half-closes, which TCP and unix sockets both can.
func (c *conn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}
