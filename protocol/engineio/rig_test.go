package engineio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

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
func (b backs) Close() error   { return nil }
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

// A backend is a plain WebSocket server in the hands of a test.
type backend struct {
	*httptest.Server
	t      *testing.T
	asked  chan *http.Request
	conns  chan *websocket.Conn
	answer http.HandlerFunc // nil: 101
	header http.Header      // of the 101
	echo   bool
}

func newBackend(t *testing.T) *backend {
	b := &backend{t: t, asked: make(chan *http.Request, 100), conns: make(chan *websocket.Conn, 100)}
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case b.asked <- r:
	default:
	}
	if b.answer != nil {
		b.answer(w, r)
		return
	}
	up := websocket.Upgrader{Subprotocols: []string{"chosen"}, CheckOrigin: func(*http.Request) bool { return true }}
	c, err := up.Upgrade(w, r, b.header)
	if err != nil {
		return
	}
	if !b.echo {
		b.conns <- c
		return
	}
	defer c.Close()
	for {
		kind, m, err := c.ReadMessage()
		if err != nil {
			return
		}
		if err := c.WriteMessage(kind, m); err != nil {
			return
		}
	}
}

// next is the backend's end of the next session.
func (b *backend) next() *peer {
	b.t.Helper()
	select {
	case c := <-b.conns:
		b.t.Cleanup(func() { c.Close() })
		return &peer{b.t, c, patience}
	case <-time.After(patience):
		b.t.Fatal("no session came to the backend")
		return nil
	}
}

// A peer is one end of a WebSocket.
type peer struct {
	t *testing.T
	*websocket.Conn
	patience time.Duration
}

func (p *peer) say(m string) {
	p.t.Helper()
	if err := p.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
		p.t.Fatalf("sending %q: %v", m, err)
	}
}

func (p *peer) sayBinary(m string) {
	p.t.Helper()
	if err := p.WriteMessage(websocket.BinaryMessage, []byte(m)); err != nil {
		p.t.Fatalf("sending binary %q: %v", m, err)
	}
}

func (p *peer) hear() (m string, binary bool) {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(p.patience))
	kind, b, err := p.ReadMessage()
	if err != nil {
		p.t.Fatalf("reading a message: %v", err)
	}
	return string(b), kind == websocket.BinaryMessage
}

func (p *peer) want(want string) {
	p.t.Helper()
	if got, binary := p.hear(); got != want || binary {
		p.t.Fatalf("got message %q, binary %v; want text %q", clip(got), binary, clip(want))
	}
}

func (p *peer) wantBinary(want string) {
	p.t.Helper()
	if got, binary := p.hear(); got != want || !binary {
		p.t.Fatalf("got message %q, binary %v; want binary %q", clip(got), binary, clip(want))
	}
}

func clip(s string) string { return s[:min(len(s), 100)] }

// wantClose reads up to the end, which must be a close frame of that code.
func (p *peer) wantClose(code int) {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(p.patience))
	for {
		_, m, err := p.ReadMessage()
		if err == nil {
			p.t.Logf("passed over %q", clip(string(m)))
			continue
		}
		closed := (*websocket.CloseError)(nil)
		if !errors.As(err, &closed) || closed.Code != code {
			p.t.Fatalf("the connection ended with %v; want close %d", err, code)
		}
		return
	}
}

// A client speaks Engine.IO as raw as a test wants it.
type client struct {
	t      *testing.T
	r      *rig
	http   *http.Client
	header http.Header
	sid    string
}

func (r *rig) client() *client {
	t := &http.Transport{MaxIdleConnsPerHost: 4}
	r.t.Cleanup(t.CloseIdleConnections)
	return &client{t: r.t, r: r, http: &http.Client{Transport: t, Timeout: patience}, header: http.Header{}}
}

// polling is a client that has shaken hands by polling.
func (r *rig) polling() *client {
	r.t.Helper()
	c := r.client()
	c.open()
	return c
}

// An answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// do makes a request whose query is the protocol's and what else is given.
func (c *client) do(ctx context.Context, method, query, body string, change ...func(*http.Request)) (answer, error) {
	var b io.Reader
	if body != "" {
		b = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.r.URL+"/app/engine.io/?"+query, b)
	if err != nil {
		c.t.Fatal(err)
	}
	for name, values := range c.header {
		r.Header[name] = values
	}
	if body != "" {
		r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	for _, f := range change {
		f(r)
	}
	res, err := c.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(all)}, err
}

func (c *client) ask(method, query, body string, change ...func(*http.Request)) answer {
	c.t.Helper()
	a, err := c.do(c.t.Context(), method, query, body, change...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, query, err)
	}
	return a
}

const polls = "EIO=4&transport=polling"

func (c *client) open() {
	c.t.Helper()
	a := c.ask("GET", polls, "")
	if a.status != 200 || !strings.HasPrefix(a.body, "0{") {
		c.t.Fatalf("handshake got %d %q; want 200 and an open packet", a.status, a.body)
	}
	c.hear(a.body)
}

// hear takes the sid from an open packet.
func (c *client) hear(packet string) {
	c.t.Helper()
	var o struct{ Sid string }
	if err := json.Unmarshal([]byte(packet[1:]), &o); err != nil || o.Sid == "" {
		c.t.Fatalf("open packet is %q (%v)", packet, err)
	}
	c.sid = o.Sid
}

func (c *client) query() string { return polls + "&sid=" + url.QueryEscape(c.sid) }

func (c *client) get() answer { c.t.Helper(); return c.ask("GET", c.query(), "") }

func (c *client) post(body string) answer { c.t.Helper(); return c.ask("POST", c.query(), body) }

func (c *client) wantGet(body string) {
	c.t.Helper()
	if a := c.get(); a.status != 200 || a.body != body {
		c.t.Fatalf("poll got %d %q; want 200 %q", a.status, clip(a.body), clip(body))
	}
}

func (c *client) wantPost(body string) {
	c.t.Helper()
	if a := c.post(body); a.status != 200 || a.body != "ok" {
		c.t.Fatalf("POST of %q got %d %q; want 200 ok", clip(body), a.status, clip(a.body))
	}
}

// wantUnknown polls, to be told that there is no such session.
func (c *client) wantUnknown() {
	c.t.Helper()
	c.wantFault(c.get(), 400, 1)
}

func (c *client) wantFault(a answer, status, code int) {
	c.t.Helper()
	var f struct {
		Code    int
		Message string
	}
	if err := json.Unmarshal([]byte(a.body), &f); err != nil || a.status != status || f.Code != code || f.Message == "" {
		c.t.Fatalf("got %d %q (%v); want %d and code %d with a message", a.status, a.body, err, status, code)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		c.t.Errorf("Content-Type of a refusal is %q; want application/json", got)
	}
}

// begun polls, and returns once the poll is open. What it gets comes by the channel.
func (c *client) begun() <-chan answer {
	c.t.Helper()
	done := make(chan answer, 1)
	go func() {
		a, err := c.do(c.t.Context(), "GET", c.query(), "")
		if err != nil {
			a.body = err.Error()
		}
		done <- a
	}()
	c.wantOpen()
	return done
}

func (c *client) wantOpen() {
	c.t.Helper()
	e := c.engine()
	eventually(c.t, "a poll is open", true, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.poll != nil
	})
}

func (c *client) engine() *engine {
	c.t.Helper()
	e := c.r.h.find(c.sid, c.r.h.identify(&http.Request{Header: c.header}))
	if e == nil {
		c.t.Fatal("there is no such session")
	}
	return e
}

func (c *client) got(done <-chan answer) answer {
	c.t.Helper()
	select {
	case a := <-done:
		return a
	case <-time.After(patience):
		c.t.Fatal("the poll was not answered")
		return answer{}
	}
}

func (c *client) wantGot(done <-chan answer, body string) {
	c.t.Helper()
	if a := c.got(done); a.status != 200 || a.body != body {
		c.t.Fatalf("poll got %d %q; want 200 %q", a.status, clip(a.body), clip(body))
	}
}

// dial opens a WebSocket.
func (c *client) dial(query string, protocols ...string) (*peer, *http.Response, error) {
	d := websocket.Dialer{Subprotocols: protocols, HandshakeTimeout: patience}
	ws, res, err := d.DialContext(c.t.Context(), "ws"+strings.TrimPrefix(c.r.URL, "http")+"/app/engine.io/?"+query, c.header)
	if err != nil {
		return nil, res, err
	}
	c.t.Cleanup(func() { ws.Close() })
	return &peer{c.t, ws, patience}, res, nil
}

const sockets = "EIO=4&transport=websocket"

func (c *client) mustDial(query string) *peer {
	c.t.Helper()
	p, _, err := c.dial(query)
	if err != nil {
		c.t.Fatalf("opening a WebSocket: %v", err)
	}
	return p
}

// upgrading is a WebSocket with the client's sid.
func (c *client) upgrading() *peer { c.t.Helper(); return c.mustDial(sockets + "&sid=" + c.sid) }

// wantTurnedAway fails unless one more WebSocket with the client's sid is closed,
// whatever it says.
func (c *client) wantTurnedAway() {
	c.t.Helper()
	thief := c.upgrading()
	thief.WriteMessage(websocket.TextMessage, []byte(probe)) // it may be closed already
	thief.WriteMessage(websocket.TextMessage, []byte("5"))
	thief.WriteMessage(websocket.TextMessage, []byte("4stolen"))
	thief.wantClose(codeNoStatus)
}

// refusedSocket is the answer to a handshake that must not succeed.
func (c *client) refusedSocket(query string) answer {
	c.t.Helper()
	p, res, err := c.dial(query)
	if err == nil {
		p.Close()
		c.t.Fatalf("WebSocket %s was opened", query)
	}
	if res == nil {
		c.t.Fatalf("WebSocket %s got no answer: %v", query, err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b)}
}

// socket is a client whose session began on a WebSocket.
func (r *rig) socket() (*client, *peer) {
	r.t.Helper()
	c := r.client()
	p := c.mustDial(sockets)
	m, _ := p.hear()
	c.hear(m)
	return c, p
}

// upgraded is a client whose session changed from polling to a WebSocket.
func (r *rig) upgraded() (*client, *peer) {
	r.t.Helper()
	c := r.polling()
	p := c.upgrading()
	p.say(probe)
	p.want(answered)
	p.say("5")
	e := c.engine()
	eventually(r.t, "the session is on its WebSocket", true, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.socket != nil
	})
	return c, p
}
