package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// ErrDrain says that connections had to be cut because they did not end in time.
var ErrDrain = errors.New("drain timed out")

const (
	goingAway = 1001 // RFC 6455 §7.4.1
	// lastWait is what handlers have to return after they were cut; they only
	// have to notice. What does not is left behind: the program must end.
	lastWait = 500 * time.Millisecond
)

// drain stops in the order that loses least: first the world is told, then
// nobody new is taken, then everybody is asked to go, then cut.
func (s *Server) drain() error {
	d := s.inForce.Load().config.Drain
	s.draining.Store(true)
	s.metrics.Draining()
	s.log.Info("stopping", "delay", d.Delay, "for", d.For, "connections", s.live.Len()+s.resumed.Len())
	wait(s.life, d.Delay)

	start := time.Now()
	ctx, cancel := context.WithTimeout(s.life, d.For)
	defer cancel()
	connections, requests := s.empty(ctx, d.For*8/10)
	s.stop()
	if connections+requests == 0 {
		s.log.Info("stopped")
		return nil
	}
	s.log.Warn("stopped, but had to cut", "connections", connections, "requests", requests, "after", time.Since(start))
	return fmt.Errorf("%w: %d connections and %d requests were cut (drain.for)", ErrDrain, connections, requests)
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// empty closes the listeners and waits until all have left or ctx is done. It
// says how many connections and requests were cut.
func (s *Server) empty(ctx context.Context, spread time.Duration) (connections, requests int) {
	const reason = "server going away"
	s.closing.Store(true)
	var relayed sync.WaitGroup
	relayed.Go(func() { connections = s.live.Drain(ctx, spread, goingAway, reason) })
	resumed := 0
	relayed.Go(func() {
		s.lobby.Drain(ctx, spread) // whose clients are told beforehand
		resumed = s.resumed.Drain(ctx, 0, goingAway, reason)
	})
	polls := 0
	if s.lot != nil {
		s.lot.Shut() // before Shutdown closes the way back from it
		relayed.Go(func() { polls = s.lot.Close(ctx) })
	}
	// Shutdown closes the listeners, and connections that idle or that sent no
	// request within five seconds; it waits for the others.
	if err := s.shutdown(ctx); err != nil {
		requests = s.active.len()
	}
	relayed.Wait()
	connections += resumed
	requests += polls // which Shutdown does not see
	// A handshake that was under way while the first Drain found nobody left.
	connections += s.live.Drain(ctx, 0, goingAway, reason)
	return connections, requests
}

// shutdown is http.Server.Shutdown of the client servers, and returns soon after ctx
// is done. The original may not: it closes idle connections one by one, and with
// TLS each that takes no more bytes holds it up by the 5 s that crypto/tls has for
// its last alert.
func (s *Server) shutdown(ctx context.Context) error {
	ended := make(chan error, 2)
	go func() { ended <- s.public.Shutdown(ctx) }()
	go func() { ended <- s.plain.Shutdown(ctx) }()
	for range 2 {
		select {
		case err := <-ended:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// stop cuts what is left and waits for whoever was started.
func (s *Server) stop() {
	s.stopRequests()
	s.Close()
	ended := make(chan struct{})
	go func() {
		for _, h := range []*http.Server{&s.ops, s.plain, &s.public} {
			_ = h.Close() // in here, since it may take as long as a Shutdown
		}
		s.listening.Wait()
		s.handlers.Lock()
		s.handlers.Unlock() //nolint:staticcheck // the point was to get it
		s.closeCerts()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(lastWait):
		s.log.Warn("some requests did not notice their end")
	}
	s.inForce.Load().closeBackends()
	s.live.Drain(s.life, 0, goingAway, "") // whoever came in with the last handshake
	s.resumed.Drain(s.life, 0, goingAway, "")
	s.loops.Stop()
}

// active is the connections with a request under way, from its whole head to the
// last byte of the answer. Hijacked ones are no longer net/http's, and so not
// counted.
type active struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// state is the ConnState hook. It must not ask c for its addresses: behind the
// PROXY protocol that waits for the peer.
func (a *active) state(c net.Conn, now http.ConnState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now != http.StateActive {
		delete(a.conns, c)
		return
	}
	if a.conns == nil {
		a.conns = map[net.Conn]struct{}{}
	}
	a.conns[c] = struct{}{}
}

func (a *active) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.conns)
}
