package polling

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
)

// A front is a connection of which something was read already, which is read again.
// net/http reads all of it with its first read, for it had room for it before.
type front struct {
	net.Conn
	ahead []byte
}

// Read reads what was read ahead first.
func (f *front) Read(b []byte) (int, error) {
	if len(f.ahead) == 0 {
		return f.Conn.Read(b)
	}
	n := copy(b, f.ahead)
	if f.ahead = f.ahead[n:]; len(f.ahead) == 0 {
		f.ahead = nil
	}
	return n, nil
}

// NetConn is the connection beneath, of which the bytes read ahead are no part.
func (f *front) NetConn() net.Conn { return f.Conn }

// CloseWrite half-closes.
func (f *front) CloseWrite() error {
	if h, ok := f.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

// withoutFront takes an empty front off, or pipelined polls would pile them up.
func withoutFront(c net.Conn) net.Conn {
	if f, ok := c.(*front); ok && len(f.ahead) == 0 {
		return f.Conn
	}
	return c
}

// readAhead is what r holds that nobody has asked for yet. It is a copy, for the
// buffer is larger.
func readAhead(r *bufio.Reader) []byte {
	n := r.Buffered()
	if n == 0 {
		return nil
	}
	b, _ := r.Peek(n) // it is there
	return append([]byte(nil), b...)
}

// socketOf is what wrappers that only count or name a connection are around; TLS
// is not one of those.
func socketOf(c net.Conn) net.Conn {
	for {
		w, ok := c.(interface{ NetConn() net.Conn })
		if _, secure := c.(*tls.Conn); !ok || secure {
			return c
		}
		c = w.NetConn()
	}
}
