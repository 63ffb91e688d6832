package engineio

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/access"
	"sidecar/polling"
	"sidecar/proxy"
	"sidecar/session"
)

// A bubble is a handler whose time is the test's, with one session that a test plays
// the backend of.
type bubble struct {
	t    *testing.T
	h    *Handler
	e    *engine
	back *patient
	pipe pipes
	http *http.Client
	all  session.Sessions
	live proxy.Live
	born time.Time
	ends time.Duration // when the session ended, since it was born; 0: it lives
	why  session.Reason
	mu   sync.Mutex
}

// A patient backend takes a message when it is told to.
type patient struct {
	quiet
	mu    sync.Mutex
	write func()
}

func (p *patient) Write(m session.Message) error {
	p.mu.Lock()
	write := p.write
	p.mu.Unlock()
	if write != nil {
		write()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.quiet.Write(m)
}

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

// inBubble runs a test on a session that began by polling, with the default times.
func inBubble(t *testing.T, test func(t *testing.T, b *bubble), changes ...func(*Settings)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{t: t, back: &patient{}, pipe: make(pipes, 10)}
		settings := session.Default()
		b.h = &Handler{
			Settings: Default(), Sessions: &b.all, Session: &settings, Desk: &polling.Desk{Guard: &access.Guard{}},
			Dialer: &proxy.Dialer{Live: &b.live}, Carriers: &proxy.Carriers{Live: &b.live}, Log: slog.New(slog.DiscardHandler), Observer: b,
		}
		for _, change := range changes {
			change(&b.h.Settings)
		}
		server := &http.Server{Handler: b.h}
		served := make(chan struct{})
		go func() { defer close(served); server.Serve(b.pipe) }()
		transport := &http.Transport{DialContext: b.pipe.dial}
		b.http = &http.Client{Transport: transport}
		var err error
		if b.e, err = b.h.open(session.NewID(""), b.h.identify(&http.Request{}), b.back, func() {}); err != nil {
			t.Fatal(err)
		}
		if err := b.e.begin(true); err != nil {
			t.Fatal(err)
		}
		b.born = time.Now()
		defer func() {
			b.e.session.End(session.Left, session.Close{Code: codeNormal})
			close(b.pipe)
			<-served
			synctest.Wait()
			transport.CloseIdleConnections()
			server.Close()
		}()
		test(t, b)
	})
}

func (b *bubble) Opened() {}

func (b *bubble) Ended(why session.Reason, age time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ends, b.why = age, why
}

func (b *bubble) Attached(time.Duration) {}

func (b *bubble) Passed(bool, int) {}

func (b *bubble) Skipped(int) {}

func (b *bubble) Paused() {}

// at waits until the session is so old.
func (b *bubble) at(age time.Duration) { time.Sleep(age - time.Since(b.born)); synctest.Wait() }

func (b *bubble) age() time.Duration { return time.Since(b.born) }

func (b *bubble) do(method, body string) string {
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, "http://x/engine.io/?"+polls+"&sid="+b.e.sid, content)
	if err != nil {
		b.t.Fatal(err)
	}
	res, err := b.http.Do(r)
	if err != nil {
		b.t.Fatalf("%s at %v: %v", method, b.age(), err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatalf("%s at %v: %v", method, b.age(), err)
	}
	return string(got)
}

func (b *bubble) post(body string) {
	b.t.Helper()
	if got := b.do("POST", body); got != "ok" {
		b.t.Fatalf("POST of %q at %v got %q", body, b.age(), got)
	}
}

// wantPoll polls, to be answered so when the session is so old.
func (b *bubble) wantPoll(want string, age time.Duration) {
	b.t.Helper()
	if got := b.do("GET", ""); got != want || b.age() != age {
		b.t.Fatalf("poll got %q at %v; want %q at %v", got, b.age(), want, age)
	}
}

// wantEnd waits for the session to end, for that reason and at that age.
func (b *bubble) wantEnd(why session.Reason, age time.Duration) {
	b.t.Helper()
	b.at(age + 10*time.Minute)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.why != why || b.ends != age {
		b.t.Fatalf("the session ended at %v for %q; want %v and %q", b.ends, b.why, age, why)
	}
}

// upgrade changes over to a WebSocket.
func (b *bubble) upgrade(says ...string) *peer {
	b.t.Helper()
	d := websocket.Dialer{NetDialContext: b.pipe.dial}
	ws, _, err := d.Dial("ws://x/engine.io/?"+sockets+"&sid="+b.e.sid, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { ws.Close() })
	p := &peer{b.t, ws, time.Hour}
	for _, m := range says {
		if p.say(m); m == probe {
			p.want(answered)
		}
	}
	return p
}
