package acme

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// serveEcho is a backend that knows nothing of sidecars, as host:port.
func serveEcho(t testing.TB) string {
	t.Helper()
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, b, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, b) != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// trusting is a client's TLS that trusts what a issues, for name.
func (a *authority) trusting(name string) *tls.Config {
	return &tls.Config{ServerName: name, RootCAs: a.issued}
}

// shake makes one handshake and returns the server's certificate, and how long it took.
func shake(addr string, c *tls.Config) (*x509.Certificate, time.Duration, error) {
	start := time.Now()
	k, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, c)
	took := time.Since(start)
	if err != nil {
		return nil, took, err
	}
	defer k.Close()
	return k.ConnectionState().PeerCertificates[0], took, nil
}

// served is the certificate that a client who trusts a gets for name.
func (a *authority) served(t testing.TB, s *sidecar, name string) *x509.Certificate {
	t.Helper()
	leaf, _, err := shake(s.addr, a.trusting(name))
	if err != nil {
		t.Fatalf("the handshake for %q: %v", name, err)
	}
	return leaf
}

// redirected is what the plain listener answers a GET, and where it sends the client.
func redirected(t testing.TB, addr, host, path string) (status int, location string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Location")
}
