package server

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A frames is an HTTP/2 client that sends what it is told to.
type frames struct {
	*http2.Framer
	t    *testing.T
	conn net.Conn
	next uint32
	buf  bytes.Buffer
	enc  *hpack.Encoder
	away bool // a GOAWAY came
}

// dialFrames opens a connection with this initial window for answers.
func (s *secured) dialFrames(window uint32) *frames {
	s.t.Helper()
	f := &frames{t: s.t, conn: s.dialTLS("h2"), next: 1}
	f.enc = hpack.NewEncoder(&f.buf)
	if _, err := io.WriteString(f.conn, http2.ClientPreface); err != nil {
		s.t.Fatal(err)
	}
	f.Framer = http2.NewFramer(f.conn, f.conn)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}); err != nil {
		s.t.Fatal(err)
	}
	return f
}

// ask sends a head of name, value, name, value; more says that a body follows.
func (f *frames) ask(more bool, fields ...string) (stream uint32) {
	f.t.Helper()
	f.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := f.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			f.t.Fatal(err)
		}
	}
	stream = f.next
	f.next += 2
	block, first := f.buf.Bytes(), true
	for {
		piece := block[:min(len(block), 16<<10)]
		block = block[len(piece):]
		var err error
		if first {
			err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: piece, EndStream: !more, EndHeaders: len(block) == 0})
		} else {
			err = f.WriteContinuation(stream, len(block) == 0, piece)
		}
		if err != nil {
			f.t.Fatal(err)
		}
		if first = false; len(block) == 0 {
			return stream
		}
	}
}

// get is the fields of a GET, with more of them behind.
func get2(path string, more ...string) []string {
	return append([]string{":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", path}, more...)
}

// answer reads until stream has its end, and returns how: the status and body, or
// the code it was reset with.
func (f *frames) answer(stream uint32) (status, body string, reset http2.ErrCode) {
	f.t.Helper()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			f.t.Fatalf("reading frames of stream %d: %v", stream, err)
		}
		switch v := frame.(type) {
		case *http2.GoAwayFrame:
			f.away = true
		case *http2.SettingsFrame:
			if !v.IsAck() {
				if err := f.WriteSettingsAck(); err != nil {
					f.t.Fatal(err)
				}
			}
		}
		if frame.Header().StreamID != stream {
			continue
		}
		switch v := frame.(type) {
		case *http2.MetaHeadersFrame:
			status = v.PseudoValue("status")
		case *http2.DataFrame:
			body += string(v.Data())
		case *http2.RSTStreamFrame:
			return status, body, v.ErrCode
		}
		if frame.Header().Flags.Has(http2.FlagDataEndStream) && frame.Header().Type != http2.FrameSettings {
			return status, body, 0
		}
	}
}

// What HTTP/2 lets through and a backend behind HTTP/1.1 must not see.
func TestRequestsOverHTTP2(t *testing.T) {
	a := newApp(t)
	s := startTLS(t, "upstream: %s\nroutes: [{path: /off, upstream: %[1]s, protocols: [websocket]}]", a.ws())
	f := s.dialFrames(1 << 20)
	handshake := []string{"sec-websocket-version", "13", "sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="}
	for _, c := range []struct {
		name   string
		fields []string
		status string
		body   string // what it begins with
		reset  http2.ErrCode
	}{
		{"plain", get2("/a%2fb/../c?q=%3D"), "200", "GET /a%2fb/../c?q=%3D", 0},
		{"double slash", get2("//evil.example/x"), "200", "GET //evil.example/x", 0},
		{"blank in the path", get2("/a HTTP/1.1"), "400", "the request target has a blank", 0},
		{"blank in the query", get2("/a?b HTTP/1.1"), "400", "the request target has a blank", 0},
		{"line end in the path", get2("/a\r\nX: y"), "", "", http2.ErrCodeProtocol},
		{"absolute", get2("http://169.254.169.254/"), "400", "the request target must be a path", 0},
		{"asterisk", []string{":method", "OPTIONS", ":scheme", "https", ":authority", "a", ":path", "*"}, "400", "the request target must be a path", 0},
		{"blank in the method", []string{":method", "GET /x", ":scheme", "https", ":authority", "a", ":path", "/"}, "400", "the method is no token", 0},
		{"a method that is no token", []string{":method", "GET:", ":scheme", "https", ":authority", "a", ":path", "/"}, "400", "the method is no token", 0},
		{"a method of a token's bytes", []string{":method", "x!#$%&'*+-.^_`|~9", ":scheme", "https", ":authority", "a", ":path", "/"}, "200", "x!#$%&'*+-.^_`|~9 /", 0},
		{"a letter beyond ASCII in the method", []string{":method", "GÉT", ":scheme", "https", ":authority", "a", ":path", "/"}, "400", "the method is no token", 0},
		{"no authority", []string{":method", "GET", ":scheme", "https", ":path", "/"}, "400", "the authority is no host", 0},
		{"no authority but a host", []string{":method", "GET", ":scheme", "https", ":path", "/", "host", "a"}, "200", "GET /", 0},
		{"no authority and a faulty host", []string{":method", "GET", ":scheme", "https", ":path", "/", "host", "a/b"}, "400", "the authority is no host", 0},
		{"an authority with a port", []string{":method", "GET", ":scheme", "https", ":authority", "[::1]:443", ":path", "/"}, "200", "GET /", 0},
		{"a blank in the authority", []string{":method", "GET", ":scheme", "https", ":authority", "a b", ":path", "/"}, "400", "the authority is no host", 0},
		{"a slash in the authority", []string{":method", "GET", ":scheme", "https", ":authority", "a/b", ":path", "/"}, "400", "the authority is no host", 0},
		{"a quote in the authority", []string{":method", "GET", ":scheme", "https", ":authority", `a"b`, ":path", "/"}, "400", "the authority is no host", 0},
		{"a letter beyond ASCII in the authority", []string{":method", "GET", ":scheme", "https", ":authority", "ü.example", ":path", "/"}, "400", "the authority is no host", 0},
		{"a user in the authority", []string{":method", "GET", ":scheme", "https", ":authority", "u@a", ":path", "/"}, "", "", http2.ErrCodeProtocol},
		{"CONNECT", []string{":method", "CONNECT", ":authority", "a:80"}, "405", "CONNECT is not served here", 0},
		{"another scheme", []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"}, "200", "GET /", 0},
		{"the preface's method", []string{":method", "PRI", ":scheme", "https", ":authority", "a", ":path", "*"}, "400", "the request target must be a path", 0},
		{"handshake as over HTTP/1.1", get2("/ws", append(handshake, "connection", "Upgrade", "upgrade", "websocket")...), "400", `request header "Connection" is not valid in HTTP/2`, 0},
		{"upgrade alone", get2("/ws", append(handshake, "upgrade", "websocket")...), "400", `request header "Upgrade" is not valid in HTTP/2`, 0},
		{"handshake by CONNECT (RFC 8441)", append([]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "a", ":path", "/ws"}, handshake...), "", "", http2.ErrCodeProtocol},
		{"headers of a handshake alone", get2("/x", handshake...), "200", "GET /x", 0},
		{"hop by hop", get2("/", "keep-alive", "5"), "400", `request header "Keep-Alive" is not valid in HTTP/2`, 0},
		{"transfer-encoding", get2("/", "transfer-encoding", "chunked"), "400", `request header "Transfer-Encoding" is not valid in HTTP/2`, 0},
		{"te", get2("/", "te", "gzip"), "400", `request header "TE" may only be`, 0},
		{"no such protocol", get2("/off"), "404", "plain HTTP is switched off", 0},
	} {
		status, body, reset := f.answer(f.ask(false, c.fields...))
		if status != c.status || !strings.HasPrefix(body, c.body) || reset != c.reset {
			t.Errorf("%s: %s %q, reset with %v; want %s %q, %v", c.name, status, body, reset, c.status, c.body, c.reset)
		}
	}
	if f.away {
		t.Error("the connection was ended")
	}
	if strings.Contains(s.log.String(), "backend cannot be reached") {
		t.Error("the backend was blamed")
	}
}

// The backend must see one request as HTTP/1.1 has it, and who sent it.
func TestWhatABackendSeesOfHTTP2(t *testing.T) {
	seen := make(chan *http.Request, 1)
	b := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r }))
	defer b.Close()
	s := startTLS(t, "upstream: %s", b.URL)
	f := s.dialFrames(1 << 20)
	if status, body, _ := f.answer(f.ask(false, append([]string{":method", "GET", ":scheme", "http", ":authority", "localhost", ":path", "/x"}, "host", "evil.example", "cookie", "a=1", "cookie", "b=2",
		"x-forwarded-proto", "http", "x-forwarded-for", "1.2.3.4", "te", "trailers", "x-own", "kept")...)); status != "200" {
		t.Fatalf("got %s %q", status, body)
	}
	r := <-seen
	if r.Host != "localhost" || r.Header["Host"] != nil {
		t.Errorf("host %q, header %q; want the authority and no other", r.Host, r.Header["Host"])
	}
	for name, want := range map[string]string{ // whatever the scheme that the client gives
		"X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "localhost",
		"Cookie": "a=1; b=2", "X-Own": "kept", "Te": "", "Connection": "", "Upgrade": "",
	} {
		if got := strings.Join(r.Header[name], " | "); got != want {
			t.Errorf("%s: %q; want %q", name, got, want)
		}
	}
	if r.Proto != "HTTP/1.1" {
		t.Errorf("the backend was asked by %s", r.Proto)
	}
}

func TestTenThousandHeadersOverHTTP2(t *testing.T) {
	a := newApp(t)
	s := startTLS(t, "upstream: %s", a.ws())
	f := s.dialFrames(1 << 20)
	fields := get2("/")
	for range 10_000 {
		fields = append(fields, "x-a", "1") // one byte each on the wire, by the table
	}
	if status, _, _ := f.answer(f.ask(false, fields...)); status != "431" {
		t.Errorf("got %s; want 431", status)
	}
	if status, _, _ := f.answer(f.ask(false, get2("/")...)); status != "200" {
		t.Errorf("the next request got %s; want 200", status)
	}
}

func TestASlowBodyOverHTTP2(t *testing.T) {
	b := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer b.Close()
	s := startTLS(t, "upstream: %s\nlimits: {write_timeout: 1s}", b.URL)
	f := s.dialFrames(1 << 20)
	slow := f.ask(true, ":method", "POST", ":scheme", "https", ":authority", "a", ":path", "/slow")
	if err := f.WriteData(slow, false, []byte("x")); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if status, body, _ := f.answer(slow); status != "408" || body != "the request body came too slowly\n" {
		t.Errorf("got %s %q; want 408", status, body)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("it took %v; want 1s", took)
	}
	if strings.Contains(s.log.String(), "backend cannot be reached") {
		t.Error("the backend was blamed")
	}
	eventually(t, "giving the tokens back", func() bool { return s.slots.open() <= 1+2 })
}

// endless answers for ever, and tells when it was stopped.
func endless(t *testing.T) (url string, stopped chan struct{}) {
	stopped = make(chan struct{}, 10)
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil || r.Context().Err() != nil {
				stopped <- struct{}{}
				return
			}
		}
	}))
	t.Cleanup(b.Close)
	return b.URL, stopped
}

// A client that opens no window for an answer, and one that reads no socket.
func TestClientsThatTakeNothingOverHTTP2(t *testing.T) {
	for name, window := range map[string]uint32{"no window": 1000, "no reading": 1 << 30} {
		t.Run(name, func(t *testing.T) {
			url, stopped := endless(t)
			s := startTLS(t, "upstream: %s\nlimits: {write_timeout: 1s}", url)
			f := s.dialFrames(window)
			if window > 1000 {
				if err := f.WriteWindowUpdate(0, 1<<30); err != nil {
					t.Fatal(err)
				}
			}
			f.ask(false, get2("/")...)
			select {
			case <-stopped:
			case <-time.After(patience):
				t.Error("the backend's answer goes on")
			}
			eventually(t, "letting the request go", func() bool { return s.inForce.Load().refs.Load() == 1 })
		})
	}
}

// Beyond three quarters of the tokens requests are refused, and sockets still come in.
func TestStreamsAreBounded(t *testing.T) {
	a := newApp(t)
	a.entered = make(chan struct{}, 200)
	c := parse(t, "upstream: %s", a.ws())
	s := startTLSIn(t, Environment{Descriptors: 330}, c) // 99 sockets
	if s.budget.sockets != 99 {
		t.Fatalf("%d sockets; want 99", s.budget.sockets)
	}
	f := s.dialFrames(1 << 20)
	const most = 99 - 99/4 - 3 // two listeners that wait and this connection
	for range most {
		f.ask(false, get2("/slow")...)
		<-a.entered
	}
	if status, body, _ := f.answer(f.ask(false, get2("/")...)); status != "503" || body != "too many requests are under way\n" {
		t.Errorf("one more got %s %q; want 503", status, body)
	}
	if res, _ := s.get(s.client(false), "/"); res.StatusCode != 200 {
		t.Errorf("over a socket of its own: %d; want 200", res.StatusCode)
	}
	a.let()
	eventually(t, "giving the tokens back", func() bool { return s.slots.open() <= 4 })
}

// Idle polls over HTTP/2 hold no descriptor, and keep nobody else out: neither the
// POSTs of their own sessions nor plain requests nor those with a socket of their own.
func TestIdlePollsOverHTTP2StarveNobody(t *testing.T) {
	a := newApp(t)
	s := startTLSIn(t, Environment{Descriptors: 330}, parse(t, speaking+"upstream: %s", a.ws())) // 99 sockets
	c := s.client(true)
	const sessions = 90
	var first *engineClient
	var held <-chan string
	for i := range sessions {
		p := &engineClient{t: t, base: s.url("/engine.io/"), http: c}
		p.open("")
		ended := s.park(p, i)
		if i == 0 {
			first, held = p, ended
		}
	}
	if n := s.slots.open(); n > 2+5 { // two listeners that wait, and the client's connections
		t.Errorf("%d tokens are taken by %d polls; want those of sockets only", n, sessions)
	}
	if n := s.waiting.inside.Load(); n != sessions {
		t.Errorf("%d requests are counted; want %d", n, sessions)
	}
	first.post("4hello")
	if got := within(t, held); got != "200 4hello" {
		t.Errorf("the poll of a session that was posted to: %q", got)
	}
	if res, _ := s.get(c, "/page"); res.StatusCode != 200 {
		t.Errorf("a plain request over HTTP/2: %d; want 200", res.StatusCode)
	}
	echoes(t, s.wss("/ws"), "a raw WebSocket")
}
