package engineio

import (
	"bytes"
	"context"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecar/access"
	"sidecar/loop"
	"sidecar/polling"
	"sidecar/proxy"
	"sidecar/session"
)

const patience = 20 * time.Second

// A rig is a handler between clients and a backend, all over real sockets.
type rig struct {
	*httptest.Server
	t       *testing.T
	h       *Handler
	parks   bool
	all     session.Sessions
	live    proxy.Live
	limiter *access.Limiter
	back    *backend
	log     *logBuffer
	backs   backs
}

// inBothWays runs a test with polls that keep their goroutines, and with parked ones.
func inBothWays(t *testing.T, test func(t *testing.T, r *rig), changes ...func(*rig)) {
	t.Run("plain", func(t *testing.T) { test(t, newRig(t, changes...)) })
	t.Run("parked", func(t *testing.T) {
		test(t, newRig(t, append(changes, func(r *rig) { r.parks = true })...))
	})
}

func newRig(t *testing.T, changes ...func(*rig)) *rig {
	t.Helper()
	r := &rig{t: t, back: newBackend(t), limiter: access.NewLimiter(access.Limits{}), log: &logBuffer{}}
	b, err := proxy.NewBackend(proxy.Upstream{URL: "ws" + strings.TrimPrefix(r.back.URL, "http")}, "/app")
	if err != nil {
		t.Fatal(err)
	}
	settings := session.Default()
	guard := &access.Guard{Limiters: []*access.Limiter{r.limiter}}
	logger := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.h = &Handler{
		Route: "app", Settings: Default(), Sessions: &r.all, Session: &settings, Desk: &polling.Desk{Guard: guard},
		Dialer:   &proxy.Dialer{Route: "app", Backend: b, Live: &r.live, Log: logger},
		Carriers: &proxy.Carriers{Live: &r.live}, Target: "/app", Log: logger,
	}
	r.Server = httptest.NewUnstartedServer(r.h)
	for _, change := range changes {
		change(r)
	}
	r.h.Carriers.Limits.Message = r.h.Settings.MaxPayload
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.Start()
	if r.parks {
		r.park()
	}
	t.Cleanup(func() { r.empty(); r.Close() })
	return r
}

// backs are connections that a lot gives back.
type backs chan net.Conn

func (b backs) Accept() (net.Conn, error) {
	if c, ok := <-b; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (b backs) Close() error { return nil }

func (b backs) Addr() net.Addr { return &net.TCPAddr{} }

func (r *rig) park() {
	if !loop.Native {
		r.t.Skip("nothing can be parked here")
	}
	loops, err := loop.StartGroup()
	if err != nil {
		r.t.Fatal(err)
	}
	r.backs = make(backs, 10_000)
	r.h.Desk.Lot = &polling.Lot{Loops: loops, GiveBack: func(c net.Conn) { r.backs <- c }, After: -1}
	r.h.Dialer.Loops, r.h.Carriers.Loops = loops, loops
	ended := make(chan struct{})
	go func() { defer close(ended); r.Config.Serve(r.backs) }()
	r.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r.h.Desk.Lot.Close(ctx)
		loops.Stop()
		close(r.backs)
		<-ended
	})
}

// empty ends all sessions, and fails if anything of them is left.
func (r *rig) empty() {
	for len(r.back.conns) > 0 {
		(<-r.back.conns).Close() // it would not answer a close
	}
	for _, s := range r.all.All() {
		s.End(session.Drained, session.Close{Code: codeGoingAway})
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if cut := r.live.Drain(ctx, 0, codeGoingAway, "over"); cut > 0 {
		r.t.Errorf("%d connections had to be cut", cut)
	}
	if n := r.all.Len(); n != 0 {
		r.t.Errorf("%d sessions are left", n)
	}
	if n := r.limiter.Len(); n != 0 {
		r.t.Errorf("%d sessions are counted that have ended", n)
	}
}

// wantSessions waits for so many sessions to be left.
func (r *rig) wantSessions(n int) {
	r.t.Helper()
	eventually(r.t, "number of sessions", n, func() int { return r.all.Len() })
}

// eventually waits for what has no signal of its own.
func eventually[T comparable](t *testing.T, what string, want T, get func() T) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for get() != want {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s = %v after %v; want %v", what, get(), patience, want)
		}
	}
}

// A logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
