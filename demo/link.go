package demo

import (
	"context"
	"errors"
	"net"
	"sync"
)

var errRefused = errors.New("the network refuses")

// A link is the network between a resumable client and the sidecar, which fails on
// command. Who makes one must close it.
type link struct {
	to dialFunc

	mu      sync.Mutex
	refuses bool          // new connections
	blocks  bool          // new connections of WebSockets
	hangs   bool          // so that they open, and nothing more ever comes or goes
	flows   chan struct{} // closed while bytes flow
	strands map[*strand]struct{}
	cuts    int // connections that were cut in the midst of their bytes
}

func newLink(to dialFunc) *link {
	l := &link{to: to, flows: make(chan struct{}), strands: map[*strand]struct{}{}}
	close(l.flows)
	return l
}

// do changes what l suffers.
func (l *link) do(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// dialWebSocket and dialHTTP are for the two kinds of connections: what blocks
// WebSockets lets the other pass.
func (l *link) dialWebSocket(ctx context.Context, network, addr string) (net.Conn, error) {
	return l.dial(ctx, network, addr, true)
}

func (l *link) dialHTTP(ctx context.Context, network, addr string) (net.Conn, error) {
	return l.dial(ctx, network, addr, false)
}

func (l *link) dial(ctx context.Context, network, addr string, webSocket bool) (net.Conn, error) {
	conn, err := l.to(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	s := &strand{Conn: conn, l: l, gone: make(chan struct{})}
	l.mu.Lock()
	blocked := webSocket && l.blocks
	no := l.refuses || blocked && !l.hangs
	if !no {
		s.hung = blocked
		l.strands[s] = struct{}{}
	}
	l.mu.Unlock()
	if no {
		reset(conn)
		return nil, errRefused
	}
	return s, nil
}

// cut ends each connection amid the next bytes that come or go by it: half of them
// get through.
func (l *link) cut() {
	l.do(func() {
		for s := range l.strands {
			s.doomed = true
		}
	})
}

// end ends every connection at once.
func (l *link) end() {
	var all []*strand
	l.do(func() {
		for s := range l.strands {
			all = append(all, s)
		}
	})
	for _, s := range all {
		s.Close()
	}
}

// close is the end of l's use: nothing gets through any more.
func (l *link) close() {
	l.do(func() { l.refuses = true })
	l.end()
}

// stall stops all bytes, both ways, until flow.
func (l *link) stall() { l.do(func() { l.flows = make(chan struct{}) }) }

// flow undoes one stall.
func (l *link) flow() { l.do(func() { close(l.flows) }) }

// A strand is one connection of a link. Deadlines do not end a stall: nobody here has
// one that is shorter than it.
type strand struct {
	net.Conn
	l      *link
	hung   bool // for good
	doomed bool // l.mu guards it
	once   sync.Once
	gone   chan struct{}
}

// pass waits until bytes flow, and says how many of n do: fewer end the connection.
func (s *strand) pass(n int) (int, error) {
	s.l.mu.Lock()
	flows := s.l.flows
	s.l.mu.Unlock()
	if s.hung {
		flows = nil
	}
	select {
	case <-flows:
	case <-s.gone:
		return 0, net.ErrClosed
	}
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if s.doomed && n > 0 {
		s.l.cuts++
		return n / 2, nil
	}
	return n, nil
}

func (s *strand) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	passed, late := s.pass(n) // what comes in a stall is for its end
	switch {
	case late != nil:
		return 0, late
	case passed < n:
		s.Close()
		return passed, net.ErrClosed
	}
	return n, err
}

func (s *strand) Write(p []byte) (int, error) {
	n, err := s.pass(len(p))
	if err != nil {
		return 0, err
	}
	if n, err = s.Conn.Write(p[:n]); err == nil && n < len(p) {
		s.Close()
		err = net.ErrClosed
	}
	return n, err
}

func (s *strand) Close() error {
	err := net.ErrClosed
	s.once.Do(func() {
		s.l.do(func() { delete(s.l.strands, s) })
		close(s.gone)
		err = reset(s.Conn)
	})
	return err
}

// reset closes c as a network would: with no word of farewell, where that can be had.
func reset(c net.Conn) error {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // or it is an orderly end, which is one too
	}
	return c.Close()
}
