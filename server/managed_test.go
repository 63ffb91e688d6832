package server

import (
	"crypto/x509"
	"runtime"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"sidecar/config"
	"sidecar/loop"
	"sidecar/test/authority"
)

// relaying is how many goroutines relay a raw connection in this process.
func relaying() int {
	b := make([]byte, 16<<20)
	return strings.Count(string(b[:runtime.Stack(b, true)]), "created by sidecar/proxy.(*relay).start")
}

// startInternal starts c with certificates of the local authority, and waits for them.
func startInternal(t *testing.T, e Environment, c config.Config) *secured {
	t.Helper()
	c.TLS.Mode, c.TLS.HTTP, c.TLS.Storage = "internal", "127.0.0.1:0", t.TempDir()
	s := &secured{running: start(t, e, c)}
	eventually(t, "the certificate", func() bool { return s.certs.Missing() == nil })
	root, err := LocalRoot(c)
	if err != nil {
		t.Fatal(err)
	}
	s.ca = &authority.Authority{Pool: x509.NewCertPool(), PEM: root}
	s.ca.Pool.AppendCertsFromPEM(root)
	return s
}

// A certificate that we got ourselves changes nothing about how a connection is relayed:
// on a loop, without a goroutine, or by two where it is to be so. A client's does not
// either.
func TestManagedCertificatesOnLoops(t *testing.T) {
	if !loop.Native {
		t.Skip("there are no loops here")
	}
	const n = 10
	clients := authority.New(t)
	for _, c := range []struct {
		name    string
		e       Environment
		loop    bool
		clients bool
		want    int // goroutines for each connection
	}{
		{"on loops", Environment{}, true, false, 0},
		{"on loops, with certificates of clients", Environment{}, true, true, 0},
		{"with tls.loop off", Environment{}, false, false, 2},
		{"on goroutines", Environment{Goroutines: true}, true, true, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := parse(t, "upstream: %s", newApp(t).ws())
			conf.TLS.Loop = c.loop
			if c.clients {
				conf.TLS.ClientAuth.CA = authority.Roots(t, clients)
			}
			s := startInternal(t, c.e, conf)
			dialer := websocket.Dialer{HandshakeTimeout: patience, TLSClientConfig: s.config()}
			dialer.TLSClientConfig.Certificates = append(dialer.TLSClientConfig.Certificates, clients.Client(t, "alice"))
			eventually(t, "the end of those of other tests", func() bool { return relaying() == 0 })
			for range n {
				ws, _, err := dialer.Dial("wss://"+s.addr()+"/ws", nil)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = ws.Close() })
				echoes(t, ws, "hello")
				echoes(t, ws, strings.Repeat("x", 100_000))
			}
			if got := relaying(); got != n*c.want {
				t.Errorf("%d goroutines relay %d connections; want %d", got, n, n*c.want)
			}
		})
	}
}
