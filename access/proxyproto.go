package access

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

// headerTimeout is how long a trusted peer has for its PROXY header by default.
const headerTimeout = 5 * time.Second

// Listener reads the PROXY protocol, version 1 or 2, from the trusted peers of
// l. Each of their connections must begin with a header, in time (0: 5 s), or
// it is closed and only it; guessing whether there is one is forbidden by the
// protocol (section 2). Who is not in p is served plainly.
//
// The header is read in the goroutine that first reads, writes or asks for an
// address, never in Accept; so net/http's ConnContext and ConnState hooks, which
// run in the accepting goroutine, must not ask a connection for its addresses.
//
// Afterwards RemoteAddr is the client's. X-Forwarded-* on such a connection are
// a stranger's, or those of a proxy in front of the load balancer: Client
// believes them only if that address is itself trusted. With the command LOCAL
// (a health check of the load balancer's own) or UNKNOWN the peer's address
// stays; a header with any but TCP addresses is a bad one.
//
// Connections that came with a header have a method NetConn() net.Conn, as
// tls.Conn has, which returns the connection of l, for callers that want its
// descriptor.
func Listener(l net.Listener, p Proxies, timeout time.Duration) net.Listener {
	if timeout <= 0 {
		timeout = headerTimeout
	}
	return &listener{Listener: l, proxies: p, timeout: timeout}
}

type listener struct {
	net.Listener
	proxies Proxies
	timeout time.Duration
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil || !l.proxies.trustsConn(c.RemoteAddr()) {
		return c, err
	}
	return &conn{Conn: c, accepted: time.Now(), timeout: l.timeout}, nil
}

// A conn begins with a PROXY header. It keeps no buffer once the header, and
// what came in one piece with it, were read.
type conn struct {
	net.Conn
	accepted time.Time
	timeout  time.Duration

	once   sync.Once
	remote net.Addr // nil: the peer's own
	err    error
	rest   []byte // what came behind the header; the reader's own after once

	mu       sync.Mutex // guards what follows, so that a deadline set meanwhile holds
	finished bool       // the header was read, so the owner's deadline holds alone
	deadline time.Time  // what the owner wants
}

// NetConn returns the connection underneath. Bytes that came in one piece with
// the header are no longer in it: the first Read with room for 256 bytes or
// more, as net/http's and crypto/tls's are, has them all.
func (c *conn) NetConn() net.Conn { return c.Conn }

// Read reads what follows the header. After a bad or late header it fails.
func (c *conn) Read(b []byte) (int, error) {
	if err := c.header(); err != nil {
		return 0, err
	}
	if len(c.rest) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.rest)
	if c.rest = c.rest[n:]; len(c.rest) == 0 {
		c.rest = nil
	}
	return n, nil
}

// Write waits for the header too: a peer that sent none gets no answer.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.header(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// RemoteAddr waits for the header and returns the client's address.
func (c *conn) RemoteAddr() net.Addr {
	if c.header() == nil && c.remote != nil {
		return c.remote
	}
	return c.Conn.RemoteAddr()
}

// CloseWrite ends our half, for answers to clients that are still sending.
func (c *conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.Conn.SetWriteDeadline(t))
}

// SetReadDeadline bounds reads. While the header is read it can shorten the
// time for it and not lengthen it.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.apply()
}

// apply puts the deadline of the moment in force; c.mu is held.
func (c *conn) apply() error {
	t := c.deadline
	if !c.finished {
		if limit := c.accepted.Add(c.timeout); t.IsZero() || limit.Before(t) {
			t = limit
		}
	}
	return c.Conn.SetReadDeadline(t)
}

// header reads the header once, and closes the connection if it is bad.
func (c *conn) header() error {
	c.once.Do(func() {
		c.limit(true)
		c.remote, c.rest, c.err = readHeader(c.Conn)
		c.limit(false)
		if c.err != nil {
			_ = c.Conn.Close() // the bad header is the news
		}
	})
	return c.err
}

// limit puts the header's time limit in force, or ends it. A connection that
// refuses deadlines is closed already, which reading finds out.
func (c *conn) limit(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finished = !on
	_ = c.apply()
}

// readers are borrowed for a header's time. A v1 header (107 bytes) and a v2
// header with some TLVs fit; the rest of a longer one is read piece by piece.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 256) }}

// readHeader reads a PROXY header and what came in one piece with it. A nil
// address means the peer's own. TLVs are skipped, 4 KiB at most.
func readHeader(c net.Conn) (remote net.Addr, rest []byte, err error) {
	r := readers.Get().(*bufio.Reader)
	defer readers.Put(r)
	r.Reset(c)
	defer r.Reset(nil)
	h, err := proxyproto.Read(r)
	if err != nil {
		return nil, nil, fmt.Errorf("reading PROXY header: %w", err)
	}
	if !h.Command.IsLocal() {
		tcp, _, ok := h.TCPAddrs()
		if !ok {
			return nil, nil, errors.New("reading PROXY header: not a TCP connection's")
		}
		remote = tcp
	}
	if n := r.Buffered(); n > 0 {
		rest, err = r.Peek(n)
		rest = append([]byte(nil), rest...)
	}
	return remote, rest, err
}
