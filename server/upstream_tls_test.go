package server

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
	"sidecar/test/authority"
)

// A guardedApp is a backend of the name backend.internal that is reached by wss, and
// demands a certificate of its own authority. It keeps what it saw of each connection.
type guardedApp struct {
	*httptest.Server
	t    *testing.T
	ca   *authority.Authority
	seen chan tls.ConnectionState
	ours authority.Pair // what we show it
}

func newGuardedApp(t *testing.T, valid time.Duration) *guardedApp {
	t.Helper()
	b := &guardedApp{t: t, ca: authority.New(t), seen: make(chan tls.ConnectionState, 100)}
	cert, err := tls.X509KeyPair(b.ca.Issue(t, valid, "backend.internal"))
	if err != nil {
		t.Fatal(err)
	}
	b.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.seen <- *r.TLS
		if websocket.IsWebSocketUpgrade(r) {
			echo(w, r)
			return
		}
		fmt.Fprintf(w, "%s %s", r.Method, r.RequestURI)
	}))
	b.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: b.ca.Pool}
	b.Config.ErrorLog = errorLog(NewLogger(&safeBuffer{}, "json", nil))
	b.StartTLS()
	t.Cleanup(func() {
		b.CloseClientConnections()
		b.Close()
	})
	dir := t.TempDir()
	b.ours = authority.Pair{Cert: filepath.Join(dir, "ours.pem"), Key: filepath.Join(dir, "ours.key")}
	b.renew("sidecar one")
	return b
}

// renew puts another certificate of ours into the files.
func (b *guardedApp) renew(name string) {
	b.t.Helper()
	c := b.ca.Client(b.t, name)
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		b.t.Fatal(err)
	}
	b.ours.Put(b.t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
}

// upstream is the section that reaches it, to prove this name by this authority.
func (b *guardedApp) upstream(name string, ca *authority.Authority) string {
	return fmt.Sprintf("upstream: {url: \"wss://%s\", ca: %q, server_name: %s, cert: %q, key: %q}\n",
		b.Listener.Addr(), authority.Roots(b.t, ca), name, b.ours.Cert, b.ours.Key)
}

// saw is what the backend saw of the connection of the next request.
func (b *guardedApp) saw(way, subject string) {
	b.t.Helper()
	select {
	case c := <-b.seen:
		if got := c.PeerCertificates[0].Subject.String(); c.ServerName != "backend.internal" || got != subject {
			b.t.Errorf("%s: the backend saw %q, and was asked for %q; want %q and backend.internal", way, got, c.ServerName, subject)
		}
	case <-time.After(patience):
		b.t.Fatalf("%s: the backend was not asked", way)
	}
}

// startTowards starts a server that speaks everything, and whose readiness asks the
// backend.
func startTowards(t *testing.T, e Environment, loop bool, upstream string) *running {
	t.Helper()
	c := parse(t, "%s", allProtocols+upstream)
	c.TLS.Loop, c.Ops.CheckUpstream = loop, true
	return start(t, e, c)
}

// goesThrough asks the backend on each way there is.
func goesThrough(s *running, b *guardedApp, subject string) {
	s.t.Helper()
	ws := s.mustSocket("/ws")
	for _, text := range []string{"hello", strings.Repeat("x", 100_000)} {
		echoes(s.t, ws, text)
	}
	b.saw("raw WebSocket", subject)
	_ = ws.Close()
	if status, body := get(s.t, s.addr(), "/page?x=1"); status != 200 || body != "GET /page?x=1" {
		s.t.Errorf("HTTP: %d %q", status, body)
	}
	b.saw("HTTP", subject)
	p := s.engine("/engine.io/")
	p.open("")
	p.echoes("by polling")
	b.saw("Engine.IO", subject)
	c := s.resumable(s.t, "/ws")
	if err := c.WriteMessage(websocket.BinaryMessage, wire.Data{Number: 1, Payload: []byte("resumable")}.Append(nil)); err != nil {
		s.t.Fatal(err)
	}
	if _, m, err := c.ReadMessage(); err != nil || !strings.Contains(string(m), "resumable") {
		s.t.Errorf("resume: %q, %v; want the echo", m, err)
	}
	b.saw("resume", subject)
	_ = c.Close()
}

// A backend with an authority of its own, another name than its address, and a demand
// for a certificate of ours: on every way, and after ours was renewed.
func TestSecureBackends(t *testing.T) {
	for _, c := range []struct {
		name string
		e    Environment
		loop bool
	}{{"on loops", Environment{}, true}, {"on goroutines", Environment{Goroutines: true}, true}, {"with tls.loop off", Environment{}, false}} {
		t.Run(c.name, func(t *testing.T) {
			b := newGuardedApp(t, time.Hour)
			s := startTowards(t, c.e, c.loop, b.upstream("backend.internal", b.ca))
			goesThrough(s, b, "CN=sidecar one")
			live := s.mustSocket("/ws")
			b.saw("a WebSocket that stays", "CN=sidecar one")
			b.renew("sidecar two")
			if err := s.Reload(s.boot); err != nil {
				t.Fatal(err)
			}
			goesThrough(s, b, "CN=sidecar two")
			echoes(t, live, "still there")
			if status, body := s.opsGet("/readyz"); status != 200 {
				t.Errorf("/readyz: %d %q", status, body)
			}
			if err := os.Remove(b.ours.Key); err != nil {
				t.Fatal(err)
			}
			if err := s.Reload(s.boot); err == nil || !strings.Contains(err.Error(), "reading upstream.key") {
				t.Errorf("a reload without the key: %v", err)
			}
			goesThrough(s, b, "CN=sidecar two")
		})
	}
}

// A backend that is not whom it should be is told nothing; clients get 502 whatever
// they speak, and operators the reason, in the log and at /readyz.
func TestBackendsThatAreNotTrusted(t *testing.T) {
	plain := newApp(t)
	for _, c := range []struct {
		name, want string
		upstream   func() string
	}{
		{"wrong name", "certificate is valid for backend.internal, not other.internal", func() string {
			b := newGuardedApp(t, time.Hour)
			return b.upstream("other.internal", b.ca)
		}},
		{"expired", "certificate has expired or is not yet valid", func() string {
			b := newGuardedApp(t, -time.Minute)
			return b.upstream("backend.internal", b.ca)
		}},
		{"unknown root", "certificate signed by unknown authority", func() string {
			return newGuardedApp(t, time.Hour).upstream("backend.internal", authority.Named(t, "another"))
		}},
		{"no TLS", "first record does not look like a TLS handshake", func() string {
			return fmt.Sprintf("upstream: %q\n", "wss://"+plain.Listener.Addr().String())
		}},
		{"silent", "i/o timeout", func() string {
			l, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			return fmt.Sprintf("upstream: %q\nlimits: {dial_timeout: 300ms}\n", "wss://"+l.Addr().String())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startTowards(t, Environment{}, true, c.upstream())
			status := http.StatusBadGateway
			if c.name == "silent" {
				status = http.StatusGatewayTimeout
			}
			s.wantUnreached(status)
			if c.name != "silent" { // which of several ends of time speaks is chance
				eventually(t, "the line in the log", func() bool {
					return strings.Contains(s.log.String(), `"msg":"backend cannot be reached","route":"/","err":"`) && strings.Contains(s.log.String(), c.want)
				})
				if code, body := s.opsGet("/readyz"); code != 503 || !strings.Contains(body, "[-] upstream of /: dialing backend: ") || !strings.Contains(body, c.want) {
					t.Errorf("/readyz: %d %q; want %q", code, body, c.want)
				}
			}
		})
	}
}

// wantUnreached has each protocol say that the backend is not there.
func (s *running) wantUnreached(status int) {
	s.t.Helper()
	for _, header := range []http.Header{nil, {"Sec-Websocket-Protocol": {"sidecar.none"}}} {
		if _, res, err := s.socket("/ws", header); err == nil || res == nil || res.StatusCode != status {
			s.t.Errorf("raw WebSocket: %v, %v; want %d", res, err, status)
		}
	}
	if got, _ := get(s.t, s.addr(), "/page"); got != status {
		s.t.Errorf("HTTP: %d; want %d", got, status)
	}
	if got, body := get(s.t, s.addr(), "/engine.io/?EIO=4&transport=polling"); got != status {
		s.t.Errorf("Engine.IO: %d %q; want %d", got, body, status)
	}
	if got, b := s.resumePost(s.t, "/ws?sidecar=poll", resumeHello(s.t)); got != 200 || !strings.Contains(string(b), fmt.Sprintf(`"status":%d`, status)) {
		s.t.Errorf("resume: %d %q; want REFUSED with %d", got, b, status)
	}
}

// TLS 1.3 lets a backend refuse our certificate behind our handshake: that is an
// answer that did not come.
func TestABackendThatRefusesOurCertificate(t *testing.T) {
	b := newGuardedApp(t, time.Hour)
	stranger := authority.Named(t, "stranger")
	b.ours.Write(t, stranger, time.Hour, "client.example")
	s := startTowards(t, Environment{}, true, b.upstream("backend.internal", b.ca))
	s.wantUnreached(http.StatusBadGateway)
	eventually(t, "the line in the log", func() bool { return strings.Contains(s.log.String(), "remote error: tls: ") })
	select {
	case <-b.seen:
		t.Error("the backend answered")
	default:
	}
}
