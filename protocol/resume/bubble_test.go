package resume

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/access"
	"sidecar/heartbeat"
	"sidecar/polling"
	"sidecar/protocol/resume/wire"
	"sidecar/proxy"
	"sidecar/session"
)

// A bubble is a handler whose time is the test's, with one session that a test plays
// the backend of.
type bubble struct {
	*raw
	h    *Handler
	c    *client
	back *quiet
	pipe pipes
	all  session.Sessions
	live proxy.Live
	born time.Time
}

// A quiet backend keeps what it was told.
type quiet struct {
	mu     sync.Mutex
	got    []string
	closed *session.Close
	block  chan struct{} // writes wait until it is closed; nil: they do not
	hold   chan struct{} // and so does Close
}

func (q *quiet) Write(m session.Message) error {
	q.mu.Lock()
	block := q.block
	q.mu.Unlock()
	if block != nil {
		<-block
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return errors.New("closed")
	}
	q.got = append(q.got, string(m.Data))
	return nil
}

func (q *quiet) Close(c session.Close) {
	if q.hold != nil {
		<-q.hold
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed == nil {
		q.closed = &c
	}
}

func (q *quiet) Room() {}

// pipes is a listener whose connections never leave the bubble.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error { return nil }

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p <- there
	return here, nil
}

// inBubble runs a test on a session that is open, and has no carrier yet.
func inBubble(t *testing.T, test func(t *testing.T, b *bubble), changes ...func(*Handler)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{back: &quiet{}, pipe: make(pipes, 10)}
		settings := session.Default()
		b.h = &Handler{
			Settings: Default(), Heartbeat: heartbeat.Default(), Sessions: &b.all, Session: &settings,
			Desk:     &polling.Desk{Guard: &access.Guard{}},
			Dialer:   &proxy.Dialer{Live: &b.live},
			Carriers: &proxy.Carriers{Live: &b.live, Limits: proxy.Limits{Message: MaxCarried}},
			Log:      slog.New(slog.DiscardHandler),
		}
		for _, change := range changes {
			change(b.h)
		}
		server := &http.Server{Handler: b.h}
		served := make(chan struct{})
		go func() { defer close(served); server.Serve(b.pipe) }()
		transport := &http.Transport{DialContext: b.pipe.dial}
		b.raw = &raw{t: t, http: &http.Client{Transport: transport}, header: http.Header{}, path: "/", attempt: wire.NewAttempt(), patience: time.Hour}
		b.raw.r = &rig{Server: &httptest.Server{URL: "http://x"}}
		b.open(t)
		defer func() {
			b.c.session.End(session.Left, session.Close{Code: codeNormal})
			synctest.Wait()
			close(b.pipe)
			<-served
			transport.CloseIdleConnections()
			server.Close()
		}()
		test(t, b)
	})
}

// open opens the session as an opening would have.
func (b *bubble) open(t *testing.T) {
	b.c = &client{handler: b.h, id: session.NewID(""), attempt: b.attempt, backend: b.back, release: func() {}}
	b.c.down.window = 256 << 10
	s, err := b.all.Open(session.Opening{
		ID: b.c.id, Identity: b.h.identify(&http.Request{}), Settings: b.h.Session, Backend: b.back, Protocol: b.c, Ended: b.c.ended,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.c.mu.Lock() // as an opening does: the session may end by its own clock
	b.c.session, b.born = s, time.Now()
	b.c.mu.Unlock()
	b.session, b.token = b.c.id, b.c.tokens.Offer()
}

// at waits until the session is so old.
func (b *bubble) at(age time.Duration) { time.Sleep(age - b.age()); synctest.Wait() }

func (b *bubble) age() time.Duration { return time.Since(b.born) }

// connect opens a WebSocket, without a HELLO.
func (b *bubble) connect() *line {
	d := websocket.Dialer{Subprotocols: wire.Offered(nil), NetDialContext: b.pipe.dial}
	ws, _, err := d.Dial("ws://x/", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return &line{t: b.t, c: b.raw, ws: ws}
}

// attach attaches one.
func (b *bubble) attach() *line {
	l := b.connect()
	l.send(b.hello())
	l.generation = b.last
	b.welcomed(l.frame())
	return l
}

// wantAge checks that it is a time now.
func (b *bubble) wantAge(what string, want time.Duration) {
	b.t.Helper()
	if got := b.age(); got != want {
		b.t.Errorf("%s at %v; want %v", what, got, want)
	}
}
