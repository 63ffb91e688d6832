package resumable

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"sidecar/protocol/resume/wire"
)

// newSecureFake is a fake by TLS, over HTTP/2 too, and what to trust it by.
func newSecureFake(t *testing.T) (*fake, *httptest.Server, *x509.CertPool) {
	f := newFake(t)
	server := httptest.NewUnstartedServer(f)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return f, server, roots
}

// Requests over HTTP/2 and WebSockets share a TLS configuration, that of the program: a
// WebSocket still opens when requests were made, and the program's is not changed.
func TestTLSServesBoth(t *testing.T) {
	f, server, roots := newSecureFake(t)
	given := &tls.Config{RootCAs: roots}
	var major int
	f.set(wire.Stream, func(w http.ResponseWriter, r *http.Request) bool { major = r.ProtoMajor; return false })
	for _, kind := range []Transport{Stream, WebSocket} {
		c, err := Dial(t.Context(), server.URL, &Options{TLS: given, Transports: []Transport{kind}})
		if err != nil {
			t.Errorf("Dial by %s: %v", kind, err)
			continue
		}
		if got := c.Transport(); got != kind {
			t.Errorf("transport %q; want %q", got, kind)
		}
		c.CloseNow()
	}
	if major != 2 {
		t.Errorf("the stream came by HTTP/%d; want 2", major)
	}
	if slices.Contains(given.NextProtos, "h2") {
		t.Errorf("the program's configuration has %q now", given.NextProtos)
	}
}

// A carrier that goes over HTTP/2 moves to a WebSocket over the same configuration.
func TestMovingToAWebSocketOverTLS(t *testing.T) {
	f, server, roots := newSecureFake(t)
	failed := false
	f.set(wire.WebSocket, func(w http.ResponseWriter, r *http.Request) bool {
		if failed {
			return false
		}
		failed = true
		http.Error(w, "blocked", http.StatusForbidden)
		return true
	})
	moved := make(chan Transport, 10)
	c, err := Dial(t.Context(), server.URL, &Options{TLS: &tls.Config{RootCAs: roots}, OnTransport: func(now Transport, why error) { moved <- now }})
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	defer c.CloseNow()
	if now := <-moved; now != Stream {
		t.Fatalf("opened by %q; want a stream", now)
	}
	c.mu.Lock()
	c.keep.probed = c.keep.probed.Add(-probeEvery)
	c.mu.Unlock()
	signal(c.kick)
	select {
	case now := <-moved:
		if now != WebSocket {
			t.Errorf("moved to %q; want a WebSocket", now)
		}
	case <-time.After(20 * time.Second):
		t.Error("not moved to a WebSocket in 20 s")
	}
}
