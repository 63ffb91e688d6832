package proxy

import (
	"crypto/tls"
	"net"
	"sync"
	"syscall"
)

// chunkSize is how much is read at once, and so the most that is kept of each
// direction while the other end is slow.
const chunkSize = 32 << 10

var chunks = sync.Pool{New: func() any { b := make([]byte, chunkSize); return &b }}

// A stream is one end's connection: reads borrow a buffer only once there is
// something to read, so an idle connection holds none.
type stream struct {
	net.Conn
	half  interface{ CloseWrite() error } // nil: there is no half-close
	raw   syscall.RawConn                 // nil: reading needs a buffer beforehand
	try   func(fd uintptr) bool           // made once: a closure for each read would be garbage
	chunk *[]byte
	n     int
	err   error
}

func newStream(c net.Conn) *stream {
	s := &stream{Conn: c}
	inner := innermost(c)
	s.half, _ = inner.(interface{ CloseWrite() error })
	if sc, ok := inner.(syscall.Conn); ok && canBorrow {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw, s.try = raw, s.tryRead
		}
	}
	keepUnsentLow(socketOf(c))
	return s
}

// keepUnsentLow bounds what the kernel takes for an end that does not read.
func keepUnsentLow(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		if raw, err := t.SyscallConn(); err == nil {
			limitUnsent(raw)
		}
	}
}

// innermost takes wrappers off that only count or name a connection. TLS is not
// one of those.
func innermost(c net.Conn) net.Conn {
	for {
		w, ok := c.(interface{ NetConn() net.Conn })
		if _, secure := c.(*tls.Conn); !ok || secure {
			return c
		}
		c = w.NetConn()
	}
}

// socketOf is the TCP or unix socket that c is upon, through TLS too; nil: none.
func socketOf(c net.Conn) net.Conn {
	c = innermost(c)
	if t, ok := c.(*tls.Conn); ok {
		c = innermost(t.NetConn())
	}
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return c
	}
	return nil
}

// Close closes the socket first: else TLS, where closeWrite has not said its last
// word, would wait up to 5 s for an end that takes nothing to take it.
func (s *stream) Close() error {
	if t, ok := innermost(s.Conn).(*tls.Conn); ok {
		t.NetConn().Close()
	}
	return s.Conn.Close()
}

func isTLS(c net.Conn) bool {
	_, ok := innermost(c).(*tls.Conn)
	return ok
}

// read waits for bytes. They are good until release, which must be called
// whatever read returned.
func (s *stream) read() ([]byte, error) {
	if s.raw == nil {
		s.chunk = chunks.Get().(*[]byte)
		n, err := s.Conn.Read(*s.chunk)
		return (*s.chunk)[:n], err
	}
	s.n, s.err = 0, nil
	if err := s.raw.Read(s.try); err != nil {
		return nil, err
	}
	if s.chunk == nil {
		return nil, s.err
	}
	return (*s.chunk)[:s.n], s.err
}

// readNow is read where raw is set, but returns nothing where there is nothing now. It
// knows no deadline.
func (s *stream) readNow() ([]byte, error) {
	s.n, s.err = 0, nil
	if err := s.raw.Control(func(fd uintptr) { s.try(fd) }); err != nil {
		return nil, err
	}
	if s.chunk == nil {
		return nil, s.err
	}
	return (*s.chunk)[:s.n], s.err
}

func (s *stream) release() {
	if s.chunk != nil {
		chunks.Put(s.chunk)
		s.chunk = nil
	}
}

// closeWrite says that no more bytes will come, so that the other end reads all
// there are; closing with unread bytes pending would reset the connection and
// destroy what is on its way (RFC 6455 §7.1.1, RFC 9112 §9.6).
func (s *stream) closeWrite() {
	if s.half != nil {
		s.half.CloseWrite()
	}
	if isTLS(s.Conn) { // that was TLS's last word (RFC 8446 §6.1), now the socket's
		if half, ok := socketOf(s.Conn).(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
	}
}
