package server

import (
	"bufio"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/test/authority"
)

// tlsApp is an app that is reached by TLS, as conf says.
func tlsApp(t *testing.T, conf *tls.Config) *app {
	t.Helper()
	a := &app{entered: make(chan struct{}, 10), release: make(chan struct{})}
	a.Server = httptest.NewUnstartedServer(a)
	a.TLS = conf
	a.Config.ErrorLog = errorLog(NewLogger(io.Discard, "json", nil))
	a.StartTLS()
	t.Cleanup(func() {
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

// towards is the section upstream that reaches a as backend.internal, trusting ca.
func (a *app) towards(t *testing.T, ca *authority.Authority) string {
	t.Helper()
	return fmt.Sprintf("upstream: {url: \"wss://%s\", ca: %q, server_name: backend.internal}\n", a.Listener.Addr(), authority.Roots(t, ca))
}

// forServers is the certificate of a backend, once it was changed.
func forServers(t *testing.T, a *authority.Authority, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	return a.ClientWith(t, func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{"backend.internal"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		change(c)
	})
}

func asItIs(*x509.Certificate) {}

// What a backend's TLS may be like. Clients are told 502 and not why, operators why.
func TestTLSOfBackends(t *testing.T) {
	ca := authority.New(t)
	good := forServers(t, ca, asItIs)
	alone, itself := authority.SelfSigned(t, "backend.internal")
	with := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	changed := func(change func(*x509.Certificate)) *tls.Config { return with(forServers(t, ca, change)) }
	for _, c := range []struct {
		name  string
		conf  *tls.Config
		roots *authority.Authority
		want  string // in the log; "": it is reached
	}{
		{"TLS 1.2 alone", &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12}, ca, ""},
		{"TLS 1.3 alone", &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS13}, ca, ""},
		{"TLS 1.1 alone", &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, ca, "protocol version not supported"},
		{"another protocol alone, by ALPN", &tls.Config{Certificates: []tls.Certificate{good}, NextProtos: []string{"imap"}}, ca, "no application protocol"},
		{"HTTP/2 first, by ALPN", &tls.Config{Certificates: []tls.Certificate{good}, NextProtos: []string{"h2", "http/1.1"}}, ca, ""},
		{"without ALPN", &tls.Config{Certificates: []tls.Certificate{good}, NextProtos: []string{}}, ca, ""},
		{"by an authority below", with(forServers(t, ca.Below(t, "below", time.Hour), asItIs)), ca, ""},
		{"self-signed", with(alone), ca, "unknown authority"},
		{"self-signed, in ca", with(alone), itself, ""},
		{"a name in its subject only", changed(func(c *x509.Certificate) { c.DNSNames, c.Subject = nil, pkix.Name{CommonName: "backend.internal"} }), ca, "legacy Common Name"},
		{"a wildcard's name", changed(func(c *x509.Certificate) { c.DNSNames = []string{"*.internal"} }), ca, ""},
		{"a wildcard too high", changed(func(c *x509.Certificate) { c.DNSNames = []string{"*"} }), ca, "not backend.internal"},
		{"for clients", changed(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), ca, "incompatible key usage"},
		{"not valid yet", changed(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), ca, "expired or is not yet valid"},
		{"it needs a certificate of ours", &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert}, ca, "remote error: tls: certificate required"},
		{"it needs one, by TLS 1.2", &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}, ca, "remote error: tls: "},
		{"it may have one", &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequestClientCert}, ca, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startTowards(t, Environment{}, true, tlsApp(t, c.conf).towards(t, c.roots))
			if c.want != "" {
				s.wantUnreached(http.StatusBadGateway)
				s.tellsNobody("x509", "tls:", "backend.internal")
				eventually(t, "the line in the log", func() bool { return strings.Contains(s.log.String(), c.want) })
				return
			}
			echoes(t, s.mustSocket("/ws"), "hello")
			if status, body := get(t, s.addr(), "/page?x=1"); status != 200 || body != "GET /page?x=1" {
				t.Errorf("HTTP: %d %q", status, body)
			}
			s.engine("/engine.io/").open("")
		})
	}
}

// tellsNobody wants none of these words in what clients get.
func (s *running) tellsNobody(words ...string) {
	s.t.Helper()
	_, page := get(s.t, s.addr(), "/page")
	_, polled := get(s.t, s.addr(), "/engine.io/?EIO=4&transport=polling")
	_, frames := s.resumePost(s.t, "/ws?sidecar=poll", resumeHello(s.t))
	res, shaken := s.raw("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	for _, text := range []string{page, polled, string(frames), shaken, fmt.Sprint(res.Header)} {
		for _, w := range words {
			if strings.Contains(text, w) {
				s.t.Errorf("a client is told %q", text)
			}
		}
	}
}

// A backend that says something now and then, and never ends its handshake, has
// dial_timeout for all of it; one that hangs up is gone at once.
func TestBackendsThatDoNotShakeHands(t *testing.T) {
	const most = 500 * time.Millisecond
	ca := authority.New(t)
	h2 := &tls.Config{Certificates: []tls.Certificate{forServers(t, ca, asItIs)}}
	for _, c := range []struct {
		name   string
		status int
		serve  func(net.Conn)
	}{
		{"it trickles", http.StatusGatewayTimeout, func(c net.Conn) {
			said := []byte{22, 3, 3, 0x40, 0} // the head of a record of 16 KiB
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for _, err := c.Write(said); err == nil; _, err = c.Write([]byte{2}) {
				<-tick.C
			}
		}},
		{"it sends a message without an end", http.StatusBadGateway, func(c net.Conn) {
			for _, err := c.Write([]byte{22, 3, 3, 0, 4, 2, 0xff, 0xff, 0xff}); err == nil; {
				_, err = c.Write(append([]byte{22, 3, 3, 0x40, 0}, make([]byte, 1<<14)...))
			}
		}},
		{"it hangs up", http.StatusBadGateway, func(c net.Conn) { _, _ = c.Read(make([]byte, 100)) }},
		{"it speaks HTTP/2 unasked", http.StatusBadGateway, func(c net.Conn) {
			secure := tls.Server(c, h2)
			_, _ = secure.Read(make([]byte, 1000))
			_, _ = secure.Write([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := serving(t, c.serve)
			s := startTowards(t, Environment{}, true, fmt.Sprintf("upstream: {url: \"wss://%s\", ca: %q, server_name: backend.internal}\nlimits: {dial_timeout: %v}\n", at, authority.Roots(t, ca), most))
			const ways = 5
			begin := time.Now()
			s.wantUnreached(c.status)
			if took := time.Since(begin); took > ways*most+2*time.Second || c.status == http.StatusGatewayTimeout && took < ways*most {
				t.Errorf("%d ways are refused after %v; want %v each", ways, took, most)
			}
		})
	}
}

// Who leaves while his backend does not shake hands leaves nothing behind.
func TestAClientLeavesBeforeItsBackendShakesHands(t *testing.T) {
	began, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	at := serving(t, func(c net.Conn) {
		if _, err := c.Read(make([]byte, 1)); err != nil {
			return
		}
		began <- struct{}{}
		_, _ = io.Copy(io.Discard, c)
		ended <- struct{}{}
	})
	s := start(t, Environment{}, parse(t, "upstream: \"wss://%s\"\nlimits: {dial_timeout: 1m}", at))
	c := dial(t, s.addr())
	_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	<-began
	_ = c.Close()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the handshake with the backend goes on")
	}
	eventually(t, "the count", func() bool {
		_, text := s.opsGet("/metrics")
		return strings.Contains(text, `sidecar_backend_dials_total{outcome="canceled",route="/"} 1`)
	})
}

// serving is the address of a listener whose connections serve has.
func serving(t *testing.T, serve func(net.Conn)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			all.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr()
}

// A backend renews its certificate as it likes; a new authority of its is trusted once
// the file has it and a reload has read that. Nothing of this touches what is open.
func TestABackendsOwnCertificateIsRenewed(t *testing.T) {
	ca, next := authority.Named(t, "ca"), authority.Named(t, "next")
	var mu sync.Mutex
	now := forServers(t, ca, asItIs)
	a := tlsApp(t, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		one := now
		return &one, nil
	}})
	show := func(c tls.Certificate) {
		mu.Lock()
		defer mu.Unlock()
		now = c
	}
	file := authority.Roots(t, ca)
	s := startTowards(t, Environment{}, true, fmt.Sprintf("upstream: {url: \"wss://%s\", ca: %q, server_name: backend.internal}\n", a.Listener.Addr(), file))
	live := s.mustSocket("/ws")
	echoes(t, live, "hello")
	show(forServers(t, ca, asItIs))
	echoes(t, s.mustSocket("/ws"), "by the next certificate")
	show(forServers(t, next, asItIs))
	if _, res, err := s.socket("/ws", nil); err == nil || res == nil || res.StatusCode != http.StatusBadGateway {
		t.Errorf("by another authority: %v, %v; want 502", res, err)
	}
	authority.WriteRoots(t, file, ca, next)
	if err := s.Reload(s.boot); err != nil {
		t.Fatal(err)
	}
	echoes(t, s.mustSocket("/ws"), "by the next authority")
	echoes(t, live, "still there")
}

// A file that somebody is still writing is not taken for one that holds less.
func TestFilesOfBackendsAreWhole(t *testing.T) {
	b := newGuardedApp(t, time.Hour)
	s := startTowards(t, Environment{}, true, b.upstream("backend.internal", b.ca))
	roots := s.boot.Upstream.CA
	for key, file := range map[string]string{"upstream.ca": roots, "upstream.cert": b.ours.Cert, "upstream.key": b.ours.Key} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range [][]byte{append(text[:len(text):len(text)], text[:len(text)/2]...), text[:len(text)-20], text[:40], append(text[:60:60], text...)} {
			if err := os.WriteFile(file, part, 0o600); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("reading %s: %q is not whole", key, file)
			if err := s.Reload(s.boot); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%d of %d bytes: %v; want %s", len(part), len(text), err, want)
			}
			if err := Check(s.boot); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Check of %d of %d bytes: %v; want %s", len(part), len(text), err, want)
			}
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Reload(s.boot); err != nil {
			t.Errorf("%s, whole again: %v", key, err)
		}
	}
	goesThrough(s, b, "CN=sidecar one")
	pipe := filepath.Join(t.TempDir(), "pipe.pem")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	c := s.boot
	c.Upstream.CA = pipe
	if err := s.Reload(c); err == nil || !strings.Contains(err.Error(), "is no regular file") {
		t.Errorf("a pipe that nobody writes to: %v; want the fault, and at once", err)
	}
}

// shaker is a backend that answers a WebSocket handshake over TLS, and leaves the rest
// to then.
func shaker(t *testing.T, conf *tls.Config, then func(raw net.Conn, secure *tls.Conn)) net.Addr {
	t.Helper()
	return serving(t, func(c net.Conn) {
		secure := tls.Server(c, conf)
		r, err := http.ReadRequest(bufio.NewReader(secure))
		if err != nil {
			return // the sidecar's readiness, or it is over
		}
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		fmt.Fprintf(secure, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n\x81\x05hello",
			base64.StdEncoding.EncodeToString(sum[:]))
		then(c, secure)
	})
}

// Where a backend's TLS ends badly once the relay has begun, the client is told as when
// a backend in clear has gone.
func TestABackendsTLSBreaks(t *testing.T) {
	ca := authority.New(t)
	conf := &tls.Config{Certificates: []tls.Certificate{forServers(t, ca, asItIs)}}
	for name, then := range map[string]func(net.Conn, *tls.Conn){
		"no TLS any more": func(raw net.Conn, _ *tls.Conn) {
			_, _ = raw.Write([]byte("HTTP/1.1 500 Internal Server Error\r\n\r\n"))
			_, _ = io.Copy(io.Discard, raw)
		},
		"a record that nobody sealed": func(raw net.Conn, _ *tls.Conn) {
			_, _ = raw.Write(append([]byte{23, 3, 3, 0, 64}, make([]byte, 64)...))
			_, _ = io.Copy(io.Discard, raw)
		},
		"the end without a word":  func(net.Conn, *tls.Conn) {},
		"the end with TLS's word": func(_ net.Conn, secure *tls.Conn) { _ = secure.Close() },
		"the end in mid-record":   func(raw net.Conn, _ *tls.Conn) { _, _ = raw.Write([]byte{23, 3, 3, 0, 64, 1, 2, 3}) },
	} {
		for way, c := range map[string]struct {
			e    Environment
			loop bool
		}{"on loops": {Environment{}, true}, "on goroutines": {Environment{Goroutines: true}, true}} {
			t.Run(name+" "+way, func(t *testing.T) {
				at := shaker(t, conf, then)
				s := startTowards(t, c.e, c.loop, fmt.Sprintf("upstream: {url: \"wss://%s\", ca: %q, server_name: backend.internal}\n", at, authority.Roots(t, ca)))
				ws := s.mustSocket("/ws")
				if _, b, err := ws.ReadMessage(); err != nil || string(b) != "hello" {
					t.Fatalf("%q, %v", b, err)
				}
				if _, b, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
					t.Errorf("behind it comes %q, %v; want close 1012", b, err)
				}
			})
		}
	}
}

// Behind a unix socket a backend proves the name in its url.
func TestTLSOfABackendBehindAUnixSocket(t *testing.T) {
	ca := authority.New(t)
	path := filepath.Join(t.TempDir(), "backend.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	a := &app{entered: make(chan struct{}, 10), release: make(chan struct{})}
	b := &httptest.Server{Listener: l, Config: &http.Server{Handler: a, ErrorLog: errorLog(NewLogger(io.Discard, "json", nil))}}
	b.TLS = &tls.Config{Certificates: []tls.Certificate{forServers(t, ca, asItIs)}}
	b.StartTLS()
	t.Cleanup(func() {
		b.CloseClientConnections()
		b.Close()
	})
	for name, reached := range map[string]bool{"backend.internal": true, "other.internal": false} {
		s := startTowards(t, Environment{}, true, fmt.Sprintf("upstream: {url: \"wss://%s\", socket: %q, ca: %q}\n", name, path, authority.Roots(t, ca)))
		if !reached {
			s.wantUnreached(http.StatusBadGateway)
			continue
		}
		echoes(t, s.mustSocket("/ws"), "over unix")
		if status, body := get(t, s.addr(), "/page"); status != 200 || body != "GET /page" {
			t.Errorf("HTTP: %d %q", status, body)
		}
	}
}
