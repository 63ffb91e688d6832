package server

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/config"
	"sidecar/proxy"
	"sidecar/test/authority"
)

// A secured is a Server that ends TLS for 127.0.0.1, localhost and good.example.
type secured struct {
	*running
	ca    *authority.Authority
	files authority.Pair
}

var certNames = []string{"127.0.0.1", "localhost", "good.example"}

// parseTLS is parse with TLS, and the redirecting listener on a free port.
func parseTLS(t *testing.T, p authority.Pair, text string, args ...any) config.Config {
	t.Helper()
	c := parse(t, text, args...)
	c.TLS.Mode, c.TLS.Cert, c.TLS.Key, c.TLS.HTTP = "files", []string{p.Cert}, []string{p.Key}, "127.0.0.1:0"
	return c
}

func startTLS(t *testing.T, text string, args ...any) *secured {
	t.Helper()
	return startTLSIn(t, Environment{}, parse(t, text, args...))
}

// startTLSIn adds TLS to c.
func startTLSIn(t *testing.T, e Environment, c config.Config) *secured {
	t.Helper()
	ca := authority.New(t)
	files := ca.Files(t, certNames...)
	c.TLS.Mode, c.TLS.Cert, c.TLS.Key, c.TLS.HTTP = "files", []string{files.Cert}, []string{files.Key}, "127.0.0.1:0"
	return &secured{start(t, e, c), ca, files}
}

func (s *secured) config(protos ...string) *tls.Config {
	return &tls.Config{RootCAs: s.ca.Pool, ServerName: "localhost", NextProtos: protos}
}

// dialTLS is a client's connection with a deadline, for one of protos.
func (s *secured) dialTLS(protos ...string) *tls.Conn {
	s.t.Helper()
	c := tls.Client(dial(s.t, s.addr()), s.config(protos...))
	if err := c.Handshake(); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// wss opens a WebSocket.
func (s *secured) wss(path string) *websocket.Conn {
	s.t.Helper()
	d := websocket.Dialer{HandshakeTimeout: patience, TLSClientConfig: s.config()}
	c, _, err := d.Dial("wss://"+s.addr()+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(patience))
	return c
}

// client is one that speaks HTTP/2, or HTTP/1.1 only.
func (s *secured) client(h2 bool) *http.Client {
	var p http.Protocols
	p.SetHTTP1(!h2)
	p.SetHTTP2(h2)
	tr := &http.Transport{TLSClientConfig: s.config(), Protocols: &p}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

func (s *secured) url(path string) string { return "https://" + s.addr() + path }

func (s *secured) get(c *http.Client, path string) (*http.Response, string) {
	s.t.Helper()
	res, err := c.Get(s.url(path))
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, string(b)
}

func TestServesOverTLS(t *testing.T) {
	a := newApp(t)
	for _, loop := range []bool{true, false} {
		ca := authority.New(t)
		files := ca.Files(t, certNames...)
		c := parseTLS(t, files, "upstream: %s", a.ws())
		c.TLS.Loop = loop
		s := &secured{start(t, Environment{}, c), ca, files}
		if site := s.inForce.Load().table.find("a", "/"); site.raw.(*proxy.Raw).PlainTLS == loop {
			t.Errorf("tls.loop %v is not passed on", loop)
		}
		echoes(t, s.wss("/ws?x=1"), "hello")
		for proto, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
			res, body := s.get(s.client(h2), "/page?x=1")
			if res.StatusCode != 200 || body != "GET /page?x=1" || res.Proto != proto {
				t.Errorf("loop %v: %s %d %q; want %s", loop, res.Proto, res.StatusCode, body, proto)
			}
		}
	}
}

func TestALPN(t *testing.T) {
	s := startTLS(t, "upstream: ws://127.0.0.1:1")
	for _, c := range []struct {
		offered []string
		want    string
	}{
		{[]string{"h2", "http/1.1"}, "h2"}, {[]string{"http/1.1", "h2"}, "h2"}, {[]string{"http/1.1"}, "http/1.1"}, {nil, ""},
	} {
		if got := s.dialTLS(c.offered...).ConnectionState().NegotiatedProtocol; got != c.want {
			t.Errorf("%q: agreed on %q; want %q", c.offered, got, c.want)
		}
	}
}

func TestVersionsOfTLS(t *testing.T) {
	s := startTLS(t, "upstream: ws://127.0.0.1:1")
	for version, serves := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conf := s.config()
		conf.MinVersion, conf.MaxVersion = version, version
		err := tls.Client(dial(t, s.addr()), conf).Handshake()
		if (err == nil) != serves {
			t.Errorf("%s: %v; want served %v", tls.VersionName(version), err, serves)
		}
	}
}

func TestOtherProtocolsAtTheTLSPort(t *testing.T) {
	s := startTLS(t, "upstream: ws://127.0.0.1:1")
	c := s.dialTLS("http/1.1")
	_, _ = io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	if res, _ := answerOf(t, c); res.StatusCode != 505 {
		t.Errorf("HTTP/2 without ALPN got %d; want 505", res.StatusCode)
	}
	res, body := s.raw("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if res.StatusCode != 400 || !strings.Contains(body, "HTTPS server") {
		t.Errorf("got %d %q; want 400", res.StatusCode, body)
	}
}

// Clients that stall in a handshake are cut after header_timeout, and cost nobody else.
func TestStalledHandshakesAreCut(t *testing.T) {
	a := newApp(t)
	s := startTLS(t, "upstream: %s\nlimits: {header_timeout: 2s}", a.ws())
	var hello bytes.Buffer
	_ = tls.Client(record{&hello}, s.config()).Handshake() // fails, once the hello is written
	begin := time.Now()
	var slow []net.Conn
	for i := range 200 {
		c := dial(t, s.addr())
		if _, err := c.Write(hello.Bytes()[:i%hello.Len()]); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	silent := dial(t, s.addr()) // a whole hello, and nothing more
	if _, err := silent.Write(hello.Bytes()); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		echoes(t, s.wss("/ws"), "beside them")
	}
	for _, c := range append(slow, silent) {
		closedIn(t, c)
	}
	if took := time.Since(begin); took < 2*time.Second || took > 5*time.Second {
		t.Errorf("they were cut after %v; want 2s", took)
	}
	eventually(t, "giving the slots back", func() bool { return s.slots.open() <= 22+2 })
}

// A record keeps what is written, and ends every read.
type record struct{ *bytes.Buffer }

func (record) Read([]byte) (int, error)         { return 0, io.EOF }
func (record) Close() error                     { return nil }
func (record) LocalAddr() net.Addr              { return nil }
func (record) RemoteAddr() net.Addr             { return nil }
func (record) SetDeadline(time.Time) error      { return nil }
func (record) SetReadDeadline(time.Time) error  { return nil }
func (record) SetWriteDeadline(time.Time) error { return nil }

// serial tells the certificate of a new connection.
func (s *secured) serial() string {
	return s.dialTLS().ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestANewCertificateLeavesLiveConnectionsAlone(t *testing.T) {
	a := newApp(t)
	s := startTLS(t, "upstream: %s", a.ws())
	live := s.wss("/ws")
	echoes(t, live, "before")
	h2 := s.client(true)
	s.get(h2, "/")
	old := s.serial()
	s.files.Write(t, s.ca, time.Hour, certNames...)
	if err := s.Reload(s.boot); err != nil {
		t.Fatal(err)
	}
	if s.serial() == old {
		t.Error("a new connection gets the old certificate after a reload")
	}
	echoes(t, live, "after")
	if res, _ := s.get(h2, "/"); res.TLS.PeerCertificates[0].SerialNumber.String() != old {
		t.Error("the live HTTP/2 connection was not used again")
	}
	if _, text := s.opsGet("/metrics"); !strings.Contains(text, fmt.Sprintf("sidecar_tls_certificate_expiry_timestamp_seconds{name=%q} %g\n", certNames[1], float64(s.certs.Expiry().Unix()))) ||
		!strings.Contains(text, "sidecar_tls_certificate_fresh 1\n") {
		t.Error("the metrics are not of the new certificate")
	}
}

func TestReloadTakesOtherFiles(t *testing.T) {
	s := startTLS(t, "upstream: ws://127.0.0.1:1")
	old := s.serial()
	c := s.boot
	other := s.ca.Files(t, certNames...)
	c.TLS.Cert = []string{other.Cert}
	err := s.Reload(c)
	if err == nil || !strings.Contains(err.Error(), "reloading: tls.key: ") || s.serial() != old {
		t.Errorf("half a pair: %v; want the fault of the key, and the old certificate", err)
	}
	c.TLS.Key = []string{other.Key}
	if err := s.Reload(c); err != nil || s.serial() == old {
		t.Errorf("%v; want the other certificate", err)
	}
	if strings.Contains(s.log.String(), "need a restart") {
		t.Error("it asks for a restart")
	}
}

func TestTLSOverUnixSockets(t *testing.T) {
	a := newApp(t)
	ca := authority.New(t)
	c := parseTLS(t, ca.Files(t, certNames...), "upstream: %s", a.ws())
	path := t.TempDir() + "/public"
	c.Listen = []string{"unix:" + path}
	start(t, Environment{}, c)
	d := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: ca.Pool}, NetDial: func(string, string) (net.Conn, error) { return net.Dial("unix", path) }}
	ws, _, err := d.Dial("wss://localhost/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	echoes(t, ws, "over unix")
}

func TestProxyProtocolBelowTLS(t *testing.T) {
	a := newApp(t)
	s := startTLS(t, "upstream: %s\ntrusted_proxies: [127.0.0.1]\nproxy_protocol: true\nlimits: {header_timeout: 1s}", a.ws())
	prefixed := func(network, address string) (net.Conn, error) {
		c, err := net.Dial(network, address)
		if err == nil {
			_, err = io.WriteString(c, "PROXY TCP4 203.0.113.7 127.0.0.1 5000 80\r\n")
		}
		return c, err
	}
	d := websocket.Dialer{NetDial: prefixed, TLSClientConfig: s.config()}
	ws, _, err := d.Dial("wss://"+s.addr()+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	echoes(t, ws, "through it")
	_ = ws.Close()
	c, err := prefixed("tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	secure := tls.Client(c, s.config())
	fmt.Fprint(secure, "GET /from HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if _, body := answerOf(t, secure); body != "203.0.113.7" {
		t.Errorf("the backend was told %q; want the client", body)
	}
	if res := s.askPlain("PROXY TCP4 203.0.113.7 127.0.0.1 5000 80\r\nGET / HTTP/1.1\r\nHost: good.example\r\n\r\n"); res.StatusCode != 301 {
		t.Errorf("the redirecting listener answered %d; want 301", res.StatusCode)
	}
	if err := tls.Client(dial(t, s.addr()), s.config()).Handshake(); err == nil {
		t.Error("a handshake without a PROXY header passes")
	}
	if took := closedIn(t, dial(t, s.addr())); took > 4*time.Second {
		t.Errorf("a silent peer was cut after %v; want 1s", took)
	}
}

func TestFaultyCertificatesAreFaultsOfTheStart(t *testing.T) {
	ca := authority.New(t)
	one, two := ca.Files(t, "a.example"), ca.Files(t, "b.example")
	c := parseTLS(t, authority.Pair{Cert: one.Cert, Key: two.Key}, "upstream: {url: \"wss://localhost:1\", ca: /nonexistent.pem}")
	err := Check(c)
	if err == nil || !strings.Contains(err.Error(), "tls.key: ") || !strings.Contains(err.Error(), "upstream.ca") {
		t.Errorf("Check says %v; want both faults", err)
	}
	if _, err := (Environment{Stderr: io.Discard}).New(c); err == nil || !strings.Contains(err.Error(), "tls.key: ") {
		t.Errorf("New says %v; want the fault of the key", err)
	}
}

// One route's clients may be slower than the others' over HTTP/2 too.
func TestTheSlowestRouteBoundsWritesOverHTTP2(t *testing.T) {
	const text = "upstream: ws://127.0.0.1:1\nlimits: {write_timeout: 3s}\nroutes: [{path: /slow, upstream: \"ws://127.0.0.1:2\", limits: {write_timeout: %s}}]"
	s := startTLS(t, text, "40s")
	if got := s.public.HTTP2.WriteByteTimeout; got != 40*time.Second {
		t.Errorf("a client that reads nothing is cut after %v; want 40s", got)
	}
	c := parse(t, text, "50s")
	c.TLS = s.boot.TLS
	if got := strings.Join(needRestart(s.boot, c), ","); !strings.HasSuffix(got, "limits.write_timeout (for HTTP/2)") {
		t.Errorf("need a restart: %q; want the limit among them", got)
	}
}

func TestBannerSaysTLS(t *testing.T) {
	s := startTLS(t, "upstream: ws://127.0.0.1:1")
	eventually(t, "the banner", func() bool { return strings.Contains(s.log.String(), `"msg":"serving"`) })
	if want := `"tls":"files","redirect":"` + s.redirectListener.Addr().String() + `"`; !strings.Contains(s.log.String(), want) {
		t.Errorf("no %s in\n%s", want, s.log)
	}
}
