package server

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
	"sidecar/proxy"
)

func resumeHello(t *testing.T) []byte {
	h := &wire.Hello{Version: 1, Attempt: wire.NewAttempt(), Generation: 1, Use: 1, Position: wire.Position{Lowest: 1}, Window: 64 << 10}
	b, err := h.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// framesOf are the types of the frames in b.
func framesOf(t *testing.T, b []byte) string {
	t.Helper()
	var all []string
	for len(b) > 0 {
		f, rest, err := wire.Split(b)
		if err != nil {
			t.Fatalf("splitting %q: %v", b, err)
		}
		b = rest
		all = append(all, f.Type.String())
	}
	return strings.Join(all, " ")
}

// resumable opens a session on a WebSocket.
func (s *running) resumable(t *testing.T, path string) *websocket.Conn {
	t.Helper()
	c, res, err := s.socket(path, http.Header{"Sec-Websocket-Protocol": {"sidecar.none, sidecar.resume.v1"}})
	if err != nil {
		t.Fatalf("%s: %v, %v", path, err, res)
	}
	t.Cleanup(func() { c.Close() })
	if got := c.Subprotocol(); got != wire.Subprotocol {
		t.Fatalf("%s: subprotocol %q; want %q", path, got, wire.Subprotocol)
	}
	if err := c.WriteMessage(websocket.BinaryMessage, resumeHello(t)); err != nil {
		t.Fatal(err)
	}
	if _, b, err := c.ReadMessage(); err != nil || framesOf(t, b) != "WELCOME" {
		t.Fatalf("%s: HELLO got %q, %v", path, b, err)
	}
	return c
}

func (s *running) resumePost(t *testing.T, path string, body []byte) (status int, answer []byte) {
	t.Helper()
	res, err := http.Post("http://"+s.addr()+path, "text/plain", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, b
}

func TestResumeIsServedByDefault(t *testing.T) {
	s := start(t, Environment{}, parse(t, "upstream: {url: %s}\nroutes:\n  - {path: /raw, upstream: %[1]s, protocols: [websocket, http]}\n", newApp(t).ws()))
	c := s.resumable(t, "/ws?x=1")
	if err := c.WriteMessage(websocket.BinaryMessage, wire.Data{Number: 1, Payload: []byte("hello")}.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if _, b, err := c.ReadMessage(); err != nil || !strings.Contains(string(b), "hello") || !strings.HasPrefix(framesOf(t, b), "DATA") {
		t.Fatalf("the echo is %q, %v", b, err)
	}
	if status, b := s.resumePost(t, "/ws?x=1&sidecar=poll", resumeHello(t)); status != 200 || framesOf(t, b) != "WELCOME" {
		t.Errorf("a poll got %d %q; want WELCOME", status, b)
	}
	// A route without it takes its names off, and passes POSTs on.
	raw, res, err := s.socket("/raw/ws", http.Header{"Sec-Websocket-Protocol": {"sidecar.none, sidecar.resume.v1"}})
	if err == nil {
		defer raw.Close()
		if got := raw.Subprotocol(); got != "" && got != wire.NoSubprotocol {
			t.Errorf("a route without it chose %q", got)
		}
	} else {
		t.Errorf("a route without it: %v, %v", err, res)
	}
	if _, b := s.resumePost(t, "/raw/page?sidecar=poll", resumeHello(t)); !strings.Contains(string(b), "sidecar=poll") {
		t.Errorf("a POST on a route without it got %q; want the backend's answer to it", b)
	}
}

// limits.message 0 is the default, as for WebSockets that are passed through, and not
// no bound: messages in pieces are held until they are whole.
func TestResumeBoundsMessages(t *testing.T) {
	s := start(t, Environment{}, parse(t, "upstream: %s\nlimits: {message: 0}\n", newApp(t).ws()))
	_, b := s.resumePost(t, "/ws?sidecar=poll", resumeHello(t))
	f, _, err := wire.Split(b)
	if err != nil {
		t.Fatal(err)
	}
	w, err := wire.ParseWelcome(f.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := uint64(proxy.DefaultLimits().Message); w.Message != want {
		t.Errorf("a message may have %d bytes; want %d", w.Message, want)
	}
}

// A drain tells clients of it, and they get the end in order.
func TestResumeInADrain(t *testing.T) {
	s := start(t, Environment{}, parse(t, "upstream: %s\ndrain: {for: 4s}\n", newApp(t).ws()))
	c := s.resumable(t, "/ws")
	s.stop()
	var got []string
	for {
		_, b, err := c.ReadMessage()
		if err != nil {
			if !websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway) {
				t.Errorf("the carrier ended with %v; want 1000, for the session has ended, or 1001", err)
			}
			break
		}
		got = append(got, framesOf(t, b))
		if strings.Contains(framesOf(t, b), "CLOSE") {
			if err := c.WriteMessage(websocket.BinaryMessage, wire.Ack{Received: 1}.Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, want := strings.Join(got, " "), "GOAWAY CLOSE"; got != want { // in one message or two
		t.Errorf("in a drain came %s; want %s", got, want)
	}
}

// A stream over TLS, by HTTP/1.1 and by HTTP/2, with what goes up beside it; and
// streams that idle for longer than a write may take.
func TestResumeStreams(t *testing.T) {
	s := startTLS(t, "upstream: %s\nlimits: {write_timeout: 500ms}\nheartbeat: {interval: 600ms}\n", newApp(t).ws())
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			client := s.client(h2)
			res, err := client.Post(s.url("/ws?sidecar=stream"), "text/plain", bytes.NewReader(resumeHello(t)))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got := res.ProtoMajor == 2; got != h2 {
				t.Fatalf("the answer is by %s", res.Proto)
			}
			in := &framesIn{t: t, r: res.Body}
			w, err := wire.ParseWelcome(in.next(wire.TypeWelcome).Body)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 { // longer than write_timeout
				in.next(wire.TypePing)
			}
			body := wire.Continue{Generation: 1, Session: w.Session, Token: w.Token}.Append(nil)
			body = append(wire.Ack{}.Append(body), wire.Data{Number: 1, Payload: []byte("hello")}.Append(nil)...)
			sent, err := client.Post(s.url("/ws?sidecar=send"), "text/plain", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			sent.Body.Close()
			if f := in.next(wire.TypeData); !strings.HasSuffix(string(f.Body), "hello") {
				t.Errorf("the echo is %q", f.Body)
			}
		})
	}
}

// framesIn reads frames from a stream.
type framesIn struct {
	t    *testing.T
	r    io.Reader
	s    wire.Splitter
	left []byte
}

// next is the next frame of a type.
func (in *framesIn) next(want wire.Type) wire.Frame {
	in.t.Helper()
	for {
		f, rest, ok, err := in.s.Next(in.left)
		in.left = rest
		if err != nil {
			in.t.Fatal(err)
		}
		if ok && f.Type == want {
			return f
		}
		if ok {
			continue
		}
		b := make([]byte, 1000)
		n, err := in.r.Read(b)
		if n == 0 && err != nil {
			in.t.Fatalf("waiting for %v: %v", want, err)
		}
		in.left = b[:n]
	}
}
