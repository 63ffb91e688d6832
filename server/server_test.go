package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/config"
)

// patience is what a test waits for what should come at once.
const patience = 10 * time.Second

// A safeBuffer is a log that many write and a test reads.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// An app is a backend: /ws echoes WebSocket messages; any other path answers
// with the request line; /slow answers once released, /from with whom it is from.
type app struct {
	*httptest.Server
	entered chan struct{} // one for each request to /slow
	release chan struct{}
	once    sync.Once
	sockets atomic.Int64 // that it took
}

func newApp(t *testing.T) *app {
	t.Helper()
	a := &app{entered: make(chan struct{}, 10), release: make(chan struct{})}
	a.Server = httptest.NewServer(a)
	t.Cleanup(func() {
		a.let()
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

// let lets requests to /slow go on.
func (a *app) let() { a.once.Do(func() { close(a.release) }) }

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case websocket.IsWebSocketUpgrade(r):
		a.sockets.Add(1)
		echo(w, r)
	case strings.HasSuffix(r.URL.Path, "/slow"):
		a.entered <- struct{}{}
		select {
		case <-a.release:
		case <-r.Context().Done():
		}
	case strings.HasSuffix(r.URL.Path, "/from"):
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-For"))
	default:
		fmt.Fprintf(w, "%s %s", r.Method, r.RequestURI)
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	c, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		kind, b, err := c.ReadMessage()
		if err != nil {
			return
		}
		if err := c.WriteMessage(kind, b); err != nil {
			return
		}
	}
}

func (a *app) ws() string { return "ws" + strings.TrimPrefix(a.URL, "http") }

// parse reads a configuration that listens on free ports.
func parse(t *testing.T, text string, args ...any) config.Config {
	t.Helper()
	text = fmt.Sprintf("listen: 127.0.0.1:0\nops: {listen: \"127.0.0.1:0\"}\nlog: {level: debug}\n"+text, args...)
	c, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A running is a Server that runs until the test ends, or is stopped.
type running struct {
	*Server
	t     *testing.T
	log   *safeBuffer
	stop  context.CancelFunc
	ended chan struct{} // closed; then err is what Run returned
	err   error
}

func start(t *testing.T, e Environment, c config.Config) *running {
	t.Helper()
	s := &running{t: t, log: &safeBuffer{}, ended: make(chan struct{})}
	e.Stderr = s.log
	var err error
	if s.Server, err = e.New(c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() {
		s.err = s.Run(ctx)
		close(s.ended)
	}()
	t.Cleanup(func() {
		s.Close()
		cancel()
		s.wait(patience)
	})
	return s
}

// wait waits for Run's end, and says how it ended and whether in time.
func (s *running) wait(most time.Duration) error {
	s.t.Helper()
	select {
	case <-s.ended:
		return s.err
	case <-time.After(most):
		s.t.Errorf("Run went on for more than %v", most)
		return nil
	}
}

func (s *running) addr() string { return s.Addrs()[0].String() }

// dial is a client's socket with a deadline.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// raw sends text as it stands and returns the answer.
func (s *running) raw(text string) (*http.Response, string) {
	s.t.Helper()
	c := dial(s.t, s.addr())
	if _, err := io.WriteString(c, text); err != nil {
		s.t.Fatal(err)
	}
	return answerOf(s.t, c)
}

func answerOf(t *testing.T, c net.Conn) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// get asks over a connection of its own; addr is the public or the ops listener's.
func get(t *testing.T, addr, path string) (int, string) {
	t.Helper()
	c := dial(t, addr)
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", path)
	res, body := answerOf(t, c)
	return res.StatusCode, body
}

func (s *running) opsGet(path string) (int, string) { return get(s.t, s.OpsAddr().String(), path) }

// socket opens a WebSocket through s.
func (s *running) socket(path string, header http.Header) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{HandshakeTimeout: patience}
	c, res, err := d.Dial("ws://"+s.addr()+path, header)
	if err == nil {
		s.t.Cleanup(func() { _ = c.Close() })
		_ = c.SetReadDeadline(time.Now().Add(patience))
	}
	return c, res, err
}

func (s *running) mustSocket(path string) *websocket.Conn {
	s.t.Helper()
	c, _, err := s.socket(path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func echoes(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
	_, b, err := c.ReadMessage()
	if err != nil || string(b) != text {
		t.Fatalf("echo: %q, %v; want %q", b, err, text)
	}
}

// eventually polls what has no event to wait for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s did not come about in %v", what, patience)
		}
	}
}

func TestServes(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{}, parse(t, "upstream: %s", a.ws()))
	echoes(t, s.mustSocket("/ws?x=1"), "hello")
	if status, body := get(t, s.addr(), "/page?x=1"); status != 200 || body != "GET /page?x=1" {
		t.Errorf("plain: %d %q", status, body)
	}
}

func TestServesOverUnixSockets(t *testing.T) {
	a := newApp(t)
	c := parse(t, "upstream: %s", a.ws())
	path := t.TempDir() + "/public"
	c.Listen = append(c.Listen, "unix:"+path)
	c.Drain.For = 0
	s := start(t, Environment{}, c)
	d := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return net.Dial("unix", path) }}
	ws, _, err := d.Dial("ws://localhost/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	echoes(t, ws, "over unix")
	echoes(t, s.mustSocket("/ws"), "over TCP")
	ws.Close()
	s.stop()
	_ = s.wait(patience)
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		t.Error("the socket is still there after Run")
	}
}

func TestProxyProtocol(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{}, parse(t, "upstream: %s\ntrusted_proxies: [127.0.0.1]\nproxy_protocol: true\nlimits: {header_timeout: 500ms}", a.ws()))
	if _, body := s.raw("PROXY TCP4 203.0.113.7 127.0.0.1 5000 80\r\nGET /from HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); body != "203.0.113.7" {
		t.Errorf("the backend was told %q; want the client", body)
	}
	c := dial(t, s.addr()) // a trusted peer without a header is cut
	fmt.Fprint(c, "GET /from HTTP/1.1\r\nHost: a\r\n\r\n")
	if b, _ := io.ReadAll(c); len(b) != 0 {
		t.Errorf("it got %q", b)
	}
	d := websocket.Dialer{NetDial: func(network, address string) (net.Conn, error) {
		c, err := net.Dial(network, address)
		if err == nil {
			_, err = io.WriteString(c, "PROXY TCP4 203.0.113.7 127.0.0.1 5000 80\r\n")
		}
		return c, err
	}}
	ws, _, err := d.Dial("ws://"+s.addr()+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	echoes(t, ws, "through it")
	_ = ws.Close()
	silent := dial(t, s.addr())
	closedIn(t, silent)
	eventually(t, "giving all slots back", func() bool { return s.slots.open() == 1 })
}

func TestNewFails(t *testing.T) {
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	for _, c := range []struct {
		name, want string
		change     func(*config.Config)
		files      int
	}{
		{"address in use", "address already in use", func(c *config.Config) { c.Listen = []string{"127.0.0.1:0", used.Addr().String()} }, 0},
		{"ops address in use", "ops.listen: ", func(c *config.Config) { c.Ops.Listen = used.Addr().String() }, 0},
		{"missing file", `route "/": reading upstream.ca`, func(c *config.Config) { c.Upstream.URL = "wss://localhost:1"; c.Upstream.CA = "/nonexistent.pem" }, 0},
		{"too few descriptors", "descriptor limit 132 is too low", func(*config.Config) {}, 132},
	} {
		conf := parse(t, "upstream: ws://127.0.0.1:1")
		c.change(&conf)
		_, err := Environment{Stderr: io.Discard, Descriptors: c.files}.New(conf)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v; want %q", c.name, err, c.want)
		}
	}
}

func TestBanner(t *testing.T) {
	s := start(t, Environment{Descriptors: 1024}, parse(t, "upstream: ws://127.0.0.1:9\nroutes: [{path: /chat, upstream: ws://127.0.0.1:8}]\nlimits: {connections: 5000}"))
	eventually(t, "the banner", func() bool { return strings.Count(s.log.String(), "\n") >= 3 })
	log := s.log.String()
	for _, want := range []string{
		`"msg":"serving"`, `"listen":["` + s.addr() + `"]`, `"ops":"` + s.OpsAddr().String() + `"`, `"file":"test.yaml"`,
		`"routes":["/chat -> ws://127.0.0.1:8","/ -> ws://127.0.0.1:9"]`, `"descriptors":1024`, `"client_sockets":443`,
		"the descriptor limit is low", "limits.connections is more than the descriptor limit allows",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("missing %s in\n%s", want, log)
		}
	}
}

// drainAnswers reads n answers that came to pipelined requests.
func drainAnswers(t *testing.T, c net.Conn, n int) {
	t.Helper()
	r := bufio.NewReader(c)
	for range n {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
	}
}
