package demo

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// pipes is a listener without a network, so that a whole server and its clients
// run in a synctest bubble: their seconds take no time, and the bubble fails on
// a goroutine that is left.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipe"} }

func (l *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve runs h until the test ends, and returns how to reach it.
func serve(t *testing.T, h http.Handler) dialFunc {
	t.Helper()
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	s := &http.Server{Handler: h}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(l); err != http.ErrServerClosed {
			t.Errorf("Serve returned %v; want http.ErrServerClosed", err)
		}
	})
	t.Cleanup(func() { s.Close(); serving.Wait() })
	return l.dial
}

const testBase = "http://demo.example"

// reach is a target for the tests of the backend itself.
func reach(t *testing.T, h http.Handler) *target {
	t.Helper()
	to, err := newTarget(testBase, serve(t, h))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(to.close)
	return to
}

// mustOpen opens a WebSocket that ends with the test.
func mustOpen(t *testing.T, to *target, path string, o offer) *client {
	t.Helper()
	c, err := to.open(t.Context(), path, o)
	if err != nil {
		t.Fatalf("opening %s: %v", path, err)
	}
	t.Cleanup(c.end)
	// Pings would keep a test that waits in vain alive for ever.
	if err := c.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	return c
}

func mustSend(t *testing.T, c *client, kind int, p []byte) {
	t.Helper()
	if err := c.WriteMessage(kind, p); err != nil {
		t.Fatalf("sending: %v", err)
	}
}

// wantClosed reads until the connection is closed, with code, and returns the reason.
func wantClosed(t *testing.T, c *client, code int) string {
	t.Helper()
	for {
		_, _, err := c.ReadMessage()
		if err == nil {
			continue
		}
		got, ok := err.(*websocket.CloseError)
		if !ok || got.Code != code {
			t.Fatalf("connection ended with %v; want close code %d", err, code)
		}
		return got.Text
	}
}

// wantRefused wants the handshake refused with status.
func wantRefused(t *testing.T, to *target, path string, status int) *refusal {
	t.Helper()
	c, err := to.open(t.Context(), path, offer{})
	if err == nil {
		c.end()
		t.Fatalf("handshake for %s accepted; want status %d", path, status)
	}
	got, ok := err.(*refusal)
	if !ok || got.status != status {
		t.Fatalf("handshake for %s: %v; want status %d", path, err, status)
	}
	return got
}
