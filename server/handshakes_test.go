package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidecar/admin"
	"sidecar/certs"
	"sidecar/test/authority"
)

var failedLine = regexp.MustCompile(`(?m)^sidecar_tls_handshakes_failed_total\{reason="(\w+)"\} (\d+)$`)

// failures are the handshakes that failed, by reason.
func (s *running) failures() map[string]int {
	s.t.Helper()
	_, text := s.opsGet("/metrics")
	counts := map[string]int{}
	for _, m := range failedLine.FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			s.t.Fatal(err)
		}
		counts[m[1]] = n
	}
	return counts
}

// countsOne has a handshake fail, and wants that counted once, for one reason.
func (s *running) countsOne(name, reason string, fails func(net.Conn) error) {
	s.t.Helper()
	before := s.failures()
	c := dial(s.t, s.addr())
	if err := fails(c); err == nil {
		s.t.Errorf("%s: the handshake is made", name)
	}
	_ = c.Close()
	var got map[string]int
	eventually(s.t, name+", counted", func() bool { got = s.failures(); return !maps.Equal(got, before) })
	before[reason]++
	if !maps.Equal(got, before) {
		s.t.Errorf("%s: counted are %v; want %v", name, got, before)
	}
}

// shaking is a client's handshake, and what it is told behind its own part of it.
func shaking(conf *tls.Config) func(net.Conn) error {
	return func(c net.Conn) error {
		secure := tls.Client(c, conf)
		if err := secure.Handshake(); err != nil {
			return err
		}
		_, err := secure.Read(make([]byte, 1))
		return err
	}
}

// saying writes text, and reads until the end.
func saying(text string) func(net.Conn) error {
	return func(c net.Conn) error {
		if _, err := io.WriteString(c, text); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			return err
		}
		return io.EOF
	}
}

// leaving writes text and hangs up.
func leaving(text string, reset bool) func(net.Conn) error {
	return func(c net.Conn) error {
		if _, err := io.WriteString(c, text); err != nil {
			return err
		}
		if reset {
			_ = c.(*net.TCPConn).SetLinger(0)
		}
		_ = c.Close()
		return io.EOF
	}
}

// The words of crypto/tls that certs.Failure goes by are among what is seen here.
func TestHandshakesThatFailAreCounted(t *testing.T) {
	i := &identified{clients: authority.New(t), backend: newWitness(t)}
	c := parse(t, "upstream: %s\nlimits: {header_timeout: 1s}", i.backend.ws())
	c.TLS.ClientAuth.CA = authority.Roots(t, i.clients)
	i.secured = startTLSIn(t, Environment{}, c)
	alice, stranger := i.clients.Client(t, "alice"), authority.Named(t, "another").Client(t, "alice")
	showing := func(version uint16, cert tls.Certificate) func(net.Conn) error {
		conf := i.config("http/1.1")
		conf.MaxVersion = version
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		return shaking(conf)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, cert := range map[string]tls.Certificate{
			"none":                 {},
			"of another authority": stranger,
			"expired":              i.clients.ClientOf(t, -time.Minute, authority.Subject(t, nil)),
			"too long a subject":   i.clients.Client(t, strings.Repeat("n", 3000)),
			"of another key":       {Certificate: alice.Certificate, PrivateKey: stranger.PrivateKey},
			"no certificate":       {Certificate: [][]byte{[]byte("x")}, PrivateKey: alice.PrivateKey},
		} {
			i.countsOne(name+", "+tls.VersionName(version), "client_certificate", showing(version, cert))
		}
		conf := i.config()
		conf.MaxVersion, conf.RootCAs = version, x509.NewCertPool()
		i.countsOne("it does not trust us, "+tls.VersionName(version), "refused", shaking(conf))
	}
	var hello bytes.Buffer
	_ = tls.Client(record{&hello}, i.config()).Handshake() // fails, once the hello is written
	old, alien, challenge := i.config(), i.config("alien"), i.config("acme-tls/1")
	old.MinVersion, old.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	for name, c := range map[string]struct {
		reason string
		fails  func(net.Conn) error
	}{
		"a port scan":                  {"gone", leaving("", false)},
		"half a hello":                 {"gone", leaving(hello.String()[:40], false)},
		"gone behind its hello":        {"gone", leaving(hello.String(), false)},
		"reset":                        {"gone", leaving(hello.String()[:40], true)},
		"silent":                       {"timeout", saying("")},
		"silent behind its hello":      {"timeout", saying(hello.String())},
		"HTTP in clear":                {"protocol", saying("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")},
		"SSH":                          {"protocol", saying("SSH-2.0-OpenSSH_9.9\r\n")},
		"TLS 1.1":                      {"protocol", shaking(old)},
		"another protocol":             {"protocol", shaking(alien)},
		"a challenge nobody waits for": {"protocol", shaking(challenge)},
	} {
		i.countsOne(name, c.reason, c.fails)
	}
	if before := i.failures(); before["other"] != 0 {
		t.Errorf("%d are counted as other", before["other"])
	}
}

// Names that are not served, and not yet.
func TestHandshakesWithoutCertificateAreCounted(t *testing.T) {
	c := parse(t, "upstream: ws://127.0.0.1:1")
	c.TLS.Mode, c.TLS.HTTP, c.TLS.Storage = "acme", "127.0.0.1:0", t.TempDir()
	c.TLS.Domains, c.TLS.CA = []string{"late.example"}, "https://127.0.0.1:1/directory"
	s := &secured{start(t, Environment{}, c), authority.New(t), authority.Pair{}}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, reason := range map[string]string{"late.example": "no_certificate", "other.example": "unknown_name", "127.0.0.1": "unknown_name"} {
			conf := s.config()
			conf.ServerName, conf.MaxVersion = name, version
			s.countsOne(fmt.Sprintf("%s, %s", name, tls.VersionName(version)), reason, shaking(conf))
		}
	}
}

// What ends well, or later, is no handshake that failed.
func TestHandshakesThatGoWellAreNotCounted(t *testing.T) {
	a := newApp(t)
	for name, e := range map[string]Environment{"on loops": {}, "on goroutines": {Goroutines: true}} {
		s := startTLSIn(t, e, parse(t, "upstream: %s", a.ws()))
		ws := s.wss("/ws")
		echoes(t, ws, "hello")
		_ = ws.NetConn().Close()
		for _, h2 := range []bool{true, false} {
			c := s.client(h2)
			s.get(c, "/page")
			c.CloseIdleConnections()
		}
		_ = s.dialTLS("http/1.1").Close()
		_ = s.dialTLS("http/1.1").NetConn().Close()                             // without TLS's last word
		eventually(t, "their ends", func() bool { return s.slots.open() <= 2 }) // of two listeners
		for reason, n := range s.failures() {
			if n != 0 {
				t.Errorf("%s: %d are counted as %s", name, n, reason)
			}
		}
	}
}

// The sets are the same: package admin knows nothing of package certs.
func TestLabelsOfCertificates(t *testing.T) {
	if !slices.Equal(admin.HandshakeFailures, certs.Failures) || !slices.Equal(admin.CertificateStages, certs.Stages) {
		t.Errorf("the metrics have %q and %q; certs has %q and %q", admin.HandshakeFailures, admin.CertificateStages, certs.Failures, certs.Stages)
	}
}
