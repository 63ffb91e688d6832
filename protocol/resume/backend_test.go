package resume

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A backend is a plain WebSocket server in the hands of a test.
type backend struct {
	*httptest.Server
	t      testing.TB
	asked  chan *http.Request
	conns  chan *websocket.Conn
	answer http.HandlerFunc // nil: 101
	header http.Header      // of the 101
	echo   bool
	hold   chan struct{} // handshakes wait until it is closed; nil: they do not
}

func newBackend(t testing.TB) *backend {
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
	if b.hold != nil {
		<-b.hold
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
	t testing.TB
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
