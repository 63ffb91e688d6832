package proxy

import (
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"testing"

	"sidecar/access"
)

// A venue is a Raw, and where its clients and its backend meet it.
type venue struct {
	setup
	ln    net.Listener // the backend's
	front string
	log   *syncBuffer
	seen  *witness
}

func newVenue(t *testing.T, s setup) *venue {
	t.Helper()
	ln := listen(t)
	b, err := NewBackend(Upstream{URL: "ws://" + ln.Addr().String()}, "/")
	if err != nil {
		t.Fatal(err)
	}
	if overWSS {
		b.tls = &tls.Config{InsecureSkipVerify: true}
	}
	if s.loops == nil {
		s.loops = loops
	}
	if s.live == nil {
		s.live = &Live{}
	}
	v := &venue{setup: s, ln: ln, log: &syncBuffer{}, seen: &witness{}}
	raw := &Raw{
		Route: "/", Backend: b, Guard: &access.Guard{}, Heartbeat: s.beat, Limits: s.limits, Live: s.live,
		Observer: v.seen, Loops: s.loops, Log: slog.New(slog.NewJSONHandler(v.log, nil)),
	}
	v.front = serveFront(t, raw)
	return v
}

// connect opens one connection. The log is its own if it is the only one of its time.
func (v *venue) connect(t *testing.T) *wire {
	t.Helper()
	v.log.reset()
	w := &wire{live: v.live, log: v.log, seen: v.seen}
	header := ""
	if v.extensions != "" {
		header = "Sec-WebSocket-Extensions: " + v.extensions + "\r\n"
	}
	accepted := make(chan *peer, 1)
	go func() { accepted <- acceptPeer(t, v.ln, header, v.records) }()
	w.client = dialFront(t, v.front, v.records)
	w.client.send([]byte(handshakeRequest(header)))
	if got := w.client.head(); !strings.HasPrefix(got, "HTTP/1.1 101 ") {
		t.Fatalf("answer to the handshake = %q; want 101; log:\n%s", got, w.log)
	}
	if w.backend = <-accepted; w.backend == nil {
		t.Fatal("backend was not reached")
	}
	t.Cleanup(func() { w.gone(t) })
	return w
}
