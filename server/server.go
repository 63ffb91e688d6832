// Package server assembles the program: listeners, routes, drain and reload.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sidecar/access"
	"sidecar/admin"
	"sidecar/certs"
	"sidecar/config"
	"sidecar/loop"
	"sidecar/polling"
	"sidecar/protocol/resume"
	"sidecar/proxy"
	"sidecar/session"
)

const (
	// maxHeader bounds a request's head; beyond it the client gets 431.
	maxHeader = 32 << 10
	// idleTimeout is how long a keep-alive connection waits for its next request.
	idleTimeout = 75 * time.Second
	// opsSockets bounds the ops listener's clients, from the descriptors in reserve.
	opsSockets = 32
)

// An Environment is what a Server takes from its surroundings and not from its
// configuration. The zero value is right for a program.
type Environment struct {
	// Stderr is where the log goes. Default os.Stderr.
	Stderr io.Writer
	// Descriptors is the descriptor limit to reckon with. Default: the process's,
	// its soft limit raised to the hard one first.
	Descriptors int
	// Goroutines relays each connection with two goroutines, as everywhere but on
	// Linux, also where epoll loops can be had.
	Goroutines bool
	// RenewEvery is how often certificates are looked at for renewal, with tls.mode
	// acme and internal. Default 10 minutes.
	RenewEvery time.Duration
}

// A Server is the whole program short of flags and signals.
type Server struct {
	boot    config.Config // what the listeners were made from
	level   slog.LevelVar
	log     *slog.Logger
	budget  budget
	slots   *slots
	metrics *admin.Metrics
	limiter *access.Limiter
	live    proxy.Live

	sessions  session.Sessions // of all routes; it outlives their plans
	upstreams upstreams        // connections to backends
	waiting   gate             // requests for sessions over HTTP/2
	lobby     resume.Lobby     // where resumable ones are opened
	resumed   proxy.Live       // their connections, which end in a way of their own

	loops   *loop.Group    // nil: there are none here
	lot     *polling.Lot   // nil: polls keep their goroutines
	returns *returns       // from the lot; set with it
	certs   *certs.Source  // nil: TLS does not end here
	clients *certs.Clients // and their certificates; set with it

	public, ops       http.Server
	plain             *http.Server // redirects to https
	listeners         []net.Listener
	redirectListener  net.Listener // nil: off
	opsListener       net.Listener // nil: off
	active            active
	inForce           atomic.Pointer[plan]
	reloading         sync.Mutex
	started, draining atomic.Bool
	closing           atomic.Bool     // of the listeners: who leaves cannot come back
	life              context.Context // ends when everything is to be cut
	cut               context.CancelCauseFunc
	requests          context.Context // of every request; ends after those that may finish have
	stopRequests      context.CancelFunc
	handlers          sync.RWMutex // each handler holds it to read
	listening         sync.WaitGroup
}

// New checks what can only be checked here (files, descriptors) and binds the
// listeners; nothing is served before Run. Without a Run, Close it.
func New(c config.Config) (*Server, error) { return Environment{}.New(c) }

// New is the package's New in the environment e.
func (e Environment) New(c config.Config) (*Server, error) {
	if e.Stderr == nil {
		e.Stderr = os.Stderr
	}
	s := &Server{boot: c}
	s.level.Set(c.Log.Level)
	s.log = NewLogger(e.Stderr, c.Log.Format, &s.level)
	s.life, s.cut = context.WithCancelCause(context.Background())
	s.requests, s.stopRequests = context.WithCancel(context.Background())
	listeners := len(c.Listen)
	if c.TLS.Redirects() {
		listeners++
	}
	if err := s.reckon(e.Descriptors, listeners); err != nil {
		return nil, err
	}
	if err := s.begin(e); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// begin starts and opens all that Close ends.
func (s *Server) begin(e Environment) error {
	if err := s.startLoops(e); err != nil {
		return err
	}
	if err := s.startCerts(e); err != nil {
		return err
	}
	if err := s.startClients(); err != nil {
		return err
	}
	p, err := s.plan(s.boot, nil)
	if err != nil {
		return err
	}
	s.enforce(p)
	s.assemble()
	return s.bind()
}

// startLoops starts what relays raw connections. stop ends it, or a Close without
// a Run.
func (s *Server) startLoops(e Environment) error {
	if e.Goroutines || !loop.Native {
		return nil
	}
	loops, err := loop.StartGroup()
	if err != nil {
		return err
	}
	s.loops = loops
	s.startLot()
	return nil
}

// reckon divides the descriptors and makes what depends on their number.
func (s *Server) reckon(files, listeners int) (err error) {
	if files == 0 {
		if files, err = raise(); err != nil {
			return err
		}
	}
	if s.budget, err = budgetOf(files, listeners); err != nil {
		return err
	}
	s.metrics = admin.NewMetrics(ThisVersion().build(), func() int { return s.slots.open() })
	s.metrics.Descriptors(s.budget.files, s.budget.sockets)
	s.slots = newSlots(s.budget.sockets, s.log, s.metrics.Paused)
	s.limiter = access.NewLimiter(s.boot.Limits.Access.Derive(s.budget.sockets))
	s.boundSessions()
	return nil
}

// assemble makes the HTTP servers. Without TLS only HTTP/1.1 is spoken.
func (s *Server) assemble() {
	var one, public http.Protocols
	one.SetHTTP1(true)
	public.SetHTTP1(true)
	s.public = http.Server{
		Handler: s.counted(s), Protocols: &public, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: s.boot.Limits.HeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: errorLog(s.log), ConnState: s.connState,
		BaseContext: func(net.Listener) context.Context { return s.requests },
	}
	if s.certs != nil {
		s.secure(&s.public, longestWrite(s.boot))
	}
	s.plain = s.redirector()
	s.ops = http.Server{
		Handler: admin.Handler(s.metrics, s.conditions), Protocols: &one,
		ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: maxHeader,
		ErrorLog: errorLog(s.log),
	}
}

// counted lets the drain wait for handlers. A WaitGroup would be a race: a request
// may still begin while the drain waits.
func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.handlers.RLock()
		defer s.handlers.RUnlock()
		next.ServeHTTP(w, r)
	})
}

// bounded is l with what strangers meet first. The bound on sockets is innermost: a
// peer that owes a PROXY header holds a descriptor too.
func (s *Server) bounded(l net.Listener) net.Listener {
	l = limit(l, s.slots)
	if s.boot.ProxyProtocol {
		l = access.Listener(l, s.inForce.Load().proxies, s.boot.Limits.HeaderTimeout)
	}
	return l
}

// bind opens the listeners.
func (s *Server) bind() error {
	for _, address := range s.boot.Listen {
		l, err := listen(address)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		l = s.bounded(l)
		if s.certs != nil {
			l = proxy.Detachable(l)
		}
		s.listeners = append(s.listeners, l)
	}
	if err := s.bindRedirect(); err != nil {
		return err
	}
	if s.boot.Ops.Off() {
		return nil
	}
	l, err := listen(s.boot.Ops.Listen)
	if err != nil {
		return fmt.Errorf("ops.listen: %w", err)
	}
	s.opsListener = limit(l, newSlots(opsSockets, s.log.With("listener", "ops"), func() {}))
	return nil
}

// Addrs are the bound client listeners' addresses.
func (s *Server) Addrs() []net.Addr {
	var all []net.Addr
	for _, l := range s.listeners {
		all = append(all, l.Addr())
	}
	return all
}

// OpsAddr is the ops listener's address, nil when it is off.
func (s *Server) OpsAddr() net.Addr {
	if s.opsListener == nil {
		return nil
	}
	return s.opsListener.Addr()
}

// Run serves until ctx is done, then drains. It returns nil when everything
// ended in time, ErrDrain when connections had to be cut, or why serving failed.
// It can be called once.
func (s *Server) Run(ctx context.Context) error {
	s.started.Store(true)
	s.banner()
	failed := make(chan error, len(s.listeners)+3)
	for _, l := range s.listeners {
		s.listening.Go(func() { failed <- s.serve(l) })
	}
	if s.lot != nil {
		s.listening.Go(func() { failed <- s.public.Serve(s.returns) })
	}
	if s.redirectListener != nil {
		s.listening.Go(func() { failed <- s.plain.Serve(s.redirectListener) })
	}
	if s.opsListener != nil {
		s.listening.Go(func() { failed <- s.ops.Serve(s.opsListener) })
	}
	s.listening.Go(func() { keepMemory(s.life, s.log) })
	if s.certs != nil {
		s.certs.Begin() // now that challenges can be answered
	}
	var cause error
	select {
	case <-ctx.Done():
	case <-s.life.Done():
	case err := <-failed:
		cause = fmt.Errorf("serving: %w", err)
	}
	return errors.Join(cause, s.drain())
}

// Close ends everything at once, as a second signal does: Run returns ErrDrain
// soon after if anybody was still there. It may be called at any time and again.
func (s *Server) Close() {
	s.cut(ErrDrain)
	for _, l := range append(slices.Clone(s.listeners), s.redirectListener, s.opsListener) {
		if l != nil {
			_ = l.Close()
		}
	}
	if !s.started.Load() { // else stop does, once everybody has left
		s.loops.Stop()
		s.closeCerts()
	}
}
