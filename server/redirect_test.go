package server

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecar/admin"
	"sidecar/certs"
	"sidecar/test/authority"
)

func (s *secured) plainAddr() string { return s.redirectListener.Addr().String() }

// askPlain sends text to the redirecting listener and returns the answer.
func (s *secured) askPlain(text string) *http.Response {
	s.t.Helper()
	c := dial(s.t, s.plainAddr())
	if _, err := io.WriteString(c, text); err != nil {
		s.t.Fatal(err)
	}
	res, _ := answerOf(s.t, c)
	return res
}

func TestRedirects(t *testing.T) {
	s := startTLS(t, "upstream: ws://127.0.0.1:1")
	_, tlsPort, _ := net.SplitHostPort(s.addr())
	_, own, _ := net.SplitHostPort(s.plainAddr())
	at := "https://good.example:" + tlsPort
	for _, c := range []struct {
		name, head string
		status     int
		location   string
	}{
		{"GET", "GET /a%2fb?c=%3D HTTP/1.1\r\nHost: good.example:" + own, 301, at + "/a%2fb?c=%3D"},
		{"HEAD", "HEAD / HTTP/1.1\r\nHost: good.example:" + own, 301, at + "/"},
		{"POST keeps its method", "POST /x HTTP/1.1\r\nHost: good.example:" + own + "\r\nContent-Length: 5\r\n\r\nhello", 308, at + "/x"},
		{"DELETE keeps its method", "DELETE /x HTTP/1.1\r\nHost: good.example:" + own, 308, at + "/x"},
		{"an address", "GET / HTTP/1.1\r\nHost: 127.0.0.1:" + own, 301, "https://127.0.0.1:" + tlsPort + "/"},
		{"upper case and a dot", "GET / HTTP/1.1\r\nHost: GOOD.example.:" + own, 301, at + "/"},
		{"a port mapped, to 443", "GET / HTTP/1.1\r\nHost: good.example", 301, "https://good.example/"},
		{"another port mapped, to 443", "GET / HTTP/1.1\r\nHost: good.example:81", 301, "https://good.example/"},
		{"a handshake", "GET /ws HTTP/1.1\r\nHost: good.example\r\n" + upgradeHead, 301, "https://good.example/ws"},
		{"two slashes", "GET //evil.example/x HTTP/1.1\r\nHost: good.example", 301, "https://good.example//evil.example/x"},
		{"a path for another path", "GET /a/../b HTTP/1.1\r\nHost: good.example", 301, "https://good.example/a/../b"},
		{"another host", "GET / HTTP/1.1\r\nHost: evil.example", 421, ""},
		{"a host below", "GET / HTTP/1.1\r\nHost: x.good.example", 421, ""},
		{"a user part", "GET / HTTP/1.1\r\nHost: good.example@evil.example", 400, ""},
		{"a user part with a port", "GET / HTTP/1.1\r\nHost: good.example:80@evil.example", 400, ""},
		{"a fragment", "GET / HTTP/1.1\r\nHost: evil.example#good.example", 400, ""},
		{"a port that is none", "GET / HTTP/1.1\r\nHost: good.example:80:80", 421, ""},
		{"no host", "GET / HTTP/1.0", 421, ""},
		{"an empty host", "GET / HTTP/1.1\r\nHost:", 421, ""},
		{"absolute", "GET http://good.example/ HTTP/1.1\r\nHost: good.example", 400, ""},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: good.example", 400, ""},
		{"CONNECT", "CONNECT good.example:80 HTTP/1.1\r\nHost: good.example", 405, ""},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM", 505, ""},
	} {
		res := s.askPlain(strings.TrimSuffix(c.head, "\r\n") + "\r\n\r\n")
		if got := res.Header.Get("Location"); res.StatusCode != c.status || got != c.location {
			t.Errorf("%s: %d %q; want %d %q", c.name, res.StatusCode, got, c.status, c.location)
		}
		if !res.Close {
			t.Errorf("%s: the connection stays open", c.name)
		}
	}
	if _, text := s.opsGet("/metrics"); !strings.Contains(text, `sidecar_requests_refused_total{reason="host"} 5`) {
		t.Error("refused hosts are not counted")
	}
}

// The client's way through both listeners, as it is meant.
func TestARedirectLeadsToTheSamePage(t *testing.T) {
	a := newApp(t)
	s := startTLS(t, "upstream: %s", a.ws())
	res, err := s.client(false).Get("http://" + s.plainAddr() + "/page?x=1")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); string(b) != "GET /page?x=1" || res.TLS == nil {
		t.Errorf("got %q; want the page over TLS", b)
	}
}

// Whatever a stranger asks for, the redirect is to a host of the certificate.
func FuzzRedirect(f *testing.F) {
	for _, seed := range [][2]string{
		{"good.example", "/a?b"}, {"good.example:80", "//evil.example/"}, {"evil.example", "/"}, {"good.example@evil.example", "/"},
		{"good.example:@evil.example", "/"}, {"[::1]:80", "/"}, {"good.example.", "/\\evil.example"}, {"good.example\r\nX: y", "/\r\nX: y"}, {"good.example", "/%0d%0aX: y"},
		{"evil:80:x.wild.example", "/"}, {"[evil:80:x.wild.example]:80", "/"},
	} {
		f.Add(seed[0], seed[1])
	}
	ca := authority.New(f)
	files := ca.Files(f, append(certNames, "*.wild.example", "::1")...)
	source, err := certs.Start(certs.Settings{Mode: "files", Cert: []string{files.Cert}, Key: []string{files.Key}}, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(source.Close)
	s := &Server{
		certs: source, redirectListener: addressed("127.0.0.1:80"), listeners: []net.Listener{addressed("127.0.0.1:8443")},
		log: slog.New(slog.DiscardHandler), metrics: admin.NewMetrics(admin.Build{}, func() int { return 0 }),
	}
	f.Fuzz(func(t *testing.T, host, target string) {
		w := httptest.NewRecorder()
		s.redirect(w, &http.Request{Method: "GET", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: host, RequestURI: target, URL: &url.URL{Path: target}})
		location := w.Header().Get("Location")
		if location == "" && w.Code/100 == 4 {
			return
		}
		rest, secure := strings.CutPrefix(location, "https://")
		authority, _, whole := strings.Cut(rest, "/")
		name := strings.Trim(strings.TrimSuffix(authority, ":8443"), "[]")
		label, below := strings.CutSuffix(name, ".wild.example")
		if !secure || !whole || !slices.Contains(append(certNames, "::1"), name) && (!below || strings.ContainsAny(label, ".@/\\:?#")) {
			t.Errorf("host %q, target %q: redirected to %q", host, target, location)
		}
	})
}

func TestNoRedirect(t *testing.T) {
	for _, off := range []string{"off", ""} {
		ca := authority.New(t)
		c := parseTLS(t, ca.Files(t, "localhost"), "upstream: ws://127.0.0.1:1")
		c.TLS.HTTP = off
		if s := start(t, Environment{}, c); s.redirectListener != nil {
			t.Errorf("%q: it listens at %s", off, s.redirectListener.Addr())
		}
	}
	if s := start(t, Environment{}, parse(t, "upstream: ws://127.0.0.1:1")); s.redirectListener != nil {
		t.Error("it listens with mode off")
	}
}

func TestSlowClientsOfTheRedirectAreCut(t *testing.T) {
	s := startTLS(t, "upstream: ws://127.0.0.1:1\nlimits: {header_timeout: 1s}")
	c := dial(t, s.plainAddr())
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHo")
	if took := closedIn(t, c); took > 4*time.Second {
		t.Errorf("cut after %v; want 1s", took)
	}
	eventually(t, "giving the slot back", func() bool { return s.slots.open() <= 2 })
}

func TestAnAddressThatCannotBeHadForRedirects(t *testing.T) {
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	c := parseTLS(t, authority.New(t).Files(t, "localhost"), "upstream: ws://127.0.0.1:1")
	c.TLS.HTTP = used.Addr().String()
	if _, err := (Environment{Stderr: io.Discard}).New(c); err == nil || !strings.HasPrefix(err.Error(), "tls.http: ") || !strings.HasSuffix(err.Error(), "in use; off is for no redirects") {
		t.Errorf("an address in use: %v; want the key and the remedy", err)
	}
}

func TestAuthority(t *testing.T) {
	s := &Server{redirectListener: addressed("127.0.0.1:8081"), listeners: []net.Listener{addressed("127.0.0.1:8443")}}
	for _, c := range []struct{ host, asked, want string }{
		{"a.example", "a.example:8081", "a.example:8443"},
		{"a.example", "a.example", "a.example"},
		{"::1", "[::1]:8081", "[::1]:8443"},
		{"::1", "[::1]", "[::1]"},
	} {
		if got := s.authority(c.host, c.asked); got != c.want {
			t.Errorf("asked for %s: %s; want %s", c.asked, got, c.want)
		}
	}
	s.listeners = []net.Listener{addressed("127.0.0.1:443")}
	if got := s.authority("a.example", "a.example:8081"); got != "a.example" {
		t.Errorf("got %s; want no port for 443", got)
	}
}

// addressed is a listener that is bound to nothing.
type addressed string

func (addressed) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (addressed) Close() error              { return nil }
func (a addressed) Addr() net.Addr {
	at, _ := net.ResolveTCPAddr("tcp", string(a))
	return at
}
