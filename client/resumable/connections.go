package resumable

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// A pool makes requests by connections that may be left for new ones. One over HTTP/2 that
// died in silence takes one request after the other, and answers none until the system gives
// it up, which may be in a quarter of an hour.
type pool struct {
	own   connections
	fresh func() *http.Transport
	now   atomic.Pointer[http.Transport]
}

func (p *pool) RoundTrip(r *http.Request) (*http.Response, error) { return p.now.Load().RoundTrip(r) }

// renew has all further requests go by new connections. Those under way go on, and what it
// returns closes the rest; what is not idle yet is closed when it was for IdleConnTimeout.
func (p *pool) renew() (rest func()) {
	if old := p.now.Swap(p.fresh()); old != nil {
		return old.CloseIdleConnections
	}
	return func() {}
}

func (p *pool) close() {
	p.now.Load().CloseIdleConnections()
	p.own.close()
}

// Connections are all that the requests of a Conn go by. To close those that are idle is
// not enough: one over HTTP/2 is not idle yet just behind a request that was cancelled,
// and one may be dialed that no request waits for any more. Both would live on for as
// long as a connection may be idle. The zero value is ready.
type connections struct {
	mu     sync.Mutex
	closed bool
	all    map[*connection]context.CancelFunc // those that are dialed, and what ends the dialing
}

type connection struct {
	net.Conn // nil while it is dialed
	of       *connections
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// opens is dial for connections that close does not forget. No dialing takes longer than a
// carrier may: net/http goes on with it when the request that wanted it is over.
func (s *connections) opens(dial dialer) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, openLimit)
		defer cancel()
		c := &connection{of: s}
		if !s.add(c, cancel) {
			return nil, net.ErrClosed
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			s.remove(c)
			return nil, err
		}
		if !s.dialed(c, conn) {
			conn.Close()
			return nil, net.ErrClosed
		}
		return c, nil
	}
}

func (s *connections) add(c *connection, cancel context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.all == nil {
		s.all = map[*connection]context.CancelFunc{}
	}
	s.all[c] = cancel
	return true
}

func (s *connections) dialed(c *connection, conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Conn = conn
	return !s.closed
}

func (s *connections) remove(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
}

// close closes all connections, and those that are dialed as soon as they are there.
func (s *connections) close() {
	for _, c := range s.end() {
		c.Close()
	}
}

// end returns those that are open. There will be no more.
func (s *connections) end() (open []net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c, cancel := range s.all {
		if cancel(); c.Conn != nil {
			open = append(open, c.Conn)
		}
	}
	s.all = nil
	return open
}

func (c *connection) Close() error {
	c.of.remove(c)
	return c.Conn.Close()
}
