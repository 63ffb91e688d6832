package server

import (
	"net"
	"sync"

	"sidecar/polling"
)

// returns is a listener whose clients were ours before: connections that come back
// from the lot, each with its next request. It is served beside the true listeners,
// so that no other client makes the detour. Its connections have what they were
// accepted with: their token, and their address from a PROXY header.
type returns struct {
	mu     sync.Mutex // guards what follows
	some   sync.Cond  // signalled for each that comes, and at the end
	conns  []net.Conn // no more than there are tokens
	closed bool
}

func newReturns() *returns {
	r := &returns{}
	r.some.L = &r.mu
	return r
}

// giveBack never waits. Once the listener is closed, it closes c.
func (r *returns) giveBack(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		_ = c.Close() // nobody could act on what it says
		return
	}
	r.conns = append(r.conns, c)
	r.some.Signal()
}

// Accept is the connection that has waited longest.
func (r *returns) Accept() (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.conns) == 0 && !r.closed {
		r.some.Wait()
	}
	if r.closed {
		return nil, net.ErrClosed
	}
	c := r.conns[0]
	r.conns[0] = nil
	if r.conns = r.conns[1:]; len(r.conns) == 0 {
		r.conns = nil // a burst was over
	}
	return c, nil
}

// Close ends Accept, and closes who was not accepted yet. It may be called again.
func (r *returns) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, c := range r.conns {
		_ = c.Close() // as in giveBack
	}
	r.conns = nil
	r.some.Broadcast()
	return nil
}

// Addr is of no use: nobody can be dialled there.
func (r *returns) Addr() net.Addr { return &net.TCPAddr{} }

// startLot makes what polls wait in, where there are loops and TLS does not end
// here. The drain closes it.
func (s *Server) startLot() {
	if s.loops == nil || s.boot.TLS.On() {
		return
	}
	s.returns = newReturns()
	s.lot = &polling.Lot{Loops: s.loops, GiveBack: s.returns.giveBack, Idle: idleTimeout}
}
