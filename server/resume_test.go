package server

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
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
	if got, want := strings.Join(got, ", "), "GOAWAY, CLOSE"; got != want {
		t.Errorf("in a drain came %s; want %s", got, want)
	}
}
