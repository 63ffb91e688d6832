package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/test/authority"
)

// A guarded is a server of TLS in memory that asks for certificates.
type guarded struct {
	*Clients
	t    *testing.T
	ca   *authority.Authority // of its own certificate
	conf *tls.Config
	log  page
	pipe bool // for a bubble; a resumed handshake of TLS 1.3 needs room on the way
}

func newGuarded(t *testing.T, a ClientAuth) *guarded {
	t.Helper()
	g := &guarded{t: t, ca: authority.New(t)}
	var err error
	if g.Clients, err = StartClients(a, slog.New(slog.NewTextHandler(&g.log, nil))); err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(g.ca.Issue(t, time.Hour, "guarded.example"))
	if err != nil {
		t.Fatal(err)
	}
	g.conf = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1", acmeTLS}}
	g.Protect(g.conf)
	return g
}

// A page is a log that may be read meanwhile.
type page struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buf.Write(b)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buf.String()
}

// client is a client's side.
func (g *guarded) client(certs ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: g.ca.Pool, ServerName: "guarded.example", NextProtos: []string{"http/1.1"}, Certificates: certs}
}

// meet shakes hands, and returns how both sides found it. A byte goes each way, for a
// client of TLS 1.3 hears of a refusal, and gets its ticket, behind its own handshake.
func (g *guarded) meet(conf *tls.Config) (server, client tls.ConnectionState, err error) {
	near, far := net.Pipe()
	if !g.pipe {
		near, far = joined(g.t)
	}
	s, c := tls.Server(near, g.conf), tls.Client(far, conf)
	ended := make(chan error, 1)
	go func() {
		defer near.Close()
		if err := s.Handshake(); err != nil {
			ended <- err
			return
		}
		_, err := s.Write([]byte{1})
		ended <- err
	}()
	if err = c.Handshake(); err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	far.Close() // a server that says why is not to wait for a client that has gone
	return s.ConnectionState(), c.ConnectionState(), errors.Join(err, <-ended)
}

// joined are the two ends of a connection over loopback.
func joined(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if far, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if near, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

func TestHandshakesWithCertificates(t *testing.T) {
	ours, others := authority.New(t), authority.New(t)
	server, err := tls.X509KeyPair(ours.Issue(t, time.Hour, "server.example"))
	if err != nil {
		t.Fatal(err)
	}
	subject := authority.Subject(t, nil)
	for name, c := range map[string]struct {
		certs   []tls.Certificate
		request bool   // whether the mode request lets it in
		want    string // what the mode require says; "": it lets it in
	}{
		"a good one":             {[]tls.Certificate{ours.Client(t, "alice")}, true, ""},
		"a good one, no subject": {[]tls.Certificate{ours.ClientOf(t, time.Hour, subject)}, true, ""},
		"none":                   {nil, true, "didn't provide a certificate"},
		"of another authority":   {[]tls.Certificate{others.Client(t, "alice")}, false, "unknown authority"},
		"expired":                {[]tls.Certificate{ours.ClientOf(t, -time.Minute, subject)}, false, "expired"},
		"one for servers":        {[]tls.Certificate{server}, false, "incompatible key usage"},
		"its subject is too long": {[]tls.Certificate{ours.Client(t, strings.Repeat("a", maxSubject))}, false,
			"subject of client certificate takes 2051 bytes; at most 2048"},
	} {
		for _, mode := range []string{"require", "request"} {
			g := newGuarded(t, ClientAuth{CA: authority.Roots(t, ours), Mode: mode})
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				conf := g.client(c.certs...)
				conf.MaxVersion = version
				if len(c.certs) > 0 { // whatever the server has named
					conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.certs[0], nil }
				}
				_, _, err := g.meet(conf)
				good := c.want == "" || mode == "request" && c.request
				if (err == nil) != good || !good && !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s, mode %s, %s: %v; want let in %v (%s)", name, mode, tls.VersionName(version), err, good, c.want)
				}
			}
			g.Close()
		}
	}
}

// Nothing but the answer to a challenge can come of a handshake without certificate.
func TestChallengesNeedNoCertificate(t *testing.T) {
	ours := authority.New(t)
	g := newGuarded(t, ClientAuth{CA: authority.Roots(t, ours)})
	defer g.Close()
	conf := g.client()
	conf.NextProtos = []string{acmeTLS}
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	if s, _, err := g.meet(conf); err != nil || s.NegotiatedProtocol != acmeTLS {
		t.Errorf("a challenge: %v, protocol %q", err, s.NegotiatedProtocol)
	}
	conf.NextProtos = []string{"http/1.1"}
	if _, _, err := g.meet(conf); err == nil {
		t.Error("who met a challenge comes back as a client")
	}
	for _, protos := range [][]string{{acmeTLS, "http/1.1"}, {"h2", acmeTLS}, {acmeTLS, acmeTLS}, {"http/1.1"}, nil} {
		conf := g.client()
		conf.NextProtos = protos
		if s, _, err := g.meet(conf); err == nil {
			t.Errorf("%q: let in without a certificate, for %q", protos, s.NegotiatedProtocol)
		}
	}
	g.conf.NextProtos = []string{"h2", "http/1.1"} // where challenges are not met
	conf.NextProtos = []string{acmeTLS}
	if _, _, err := g.meet(conf); err == nil {
		t.Error("a challenge that is not met passes")
	}
}

// A ticket is worth what the certificate behind it is worth now.
func TestTicketsDoNotOutliveTheirRoots(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			ours, others := authority.New(t), authority.New(t)
			a := ClientAuth{CA: authority.Roots(t, ours)}
			g := newGuarded(t, a)
			defer g.Close()
			conf := g.client(ours.Client(t, "alice"))
			conf.MaxVersion, conf.ClientSessionCache = version, tls.NewLRUClientSessionCache(4)
			meet := func(when string, resumed bool) {
				t.Helper()
				s, c, err := g.meet(conf)
				if err != nil || c.DidResume != resumed {
					t.Fatalf("%s: %v, resumed %v; want %v", when, err, c.DidResume, resumed)
				}
				if who, ok, err := g.Terms().Subject(&s); who != "CN=alice" || !ok || err != nil {
					t.Errorf("%s: %q, %v, %v", when, who, ok, err)
				}
			}
			meet("first", false)
			meet("again", true)
			use := func(a ClientAuth) {
				t.Helper()
				put, err := g.Prepare(a)
				if err != nil {
					t.Fatal(err)
				}
				put()
			}
			use(ClientAuth{CA: a.CA, Mode: "request"})
			meet("where none is needed", true)
			use(ClientAuth{CA: authority.Roots(t, ours, others)})
			meet("with more roots", true)
			old, _, err := g.meet(conf)
			if err != nil {
				t.Fatal(err)
			}
			for _, mode := range []string{"require", "request"} {
				use(ClientAuth{CA: authority.Roots(t, others), Mode: mode})
				if _, _, err := g.meet(conf); err == nil {
					t.Errorf("with other roots, mode %s: let in", mode)
				}
				if _, _, err := g.Terms().Subject(&old); err != errRoots {
					t.Errorf("a connection from before is told %v; want %v", err, errRoots)
				}
			}
			use(a)
			if _, _, err := g.meet(conf); err != nil {
				t.Errorf("with the roots of before: %v", err)
			}
		})
	}
}

// A client that was let in without a certificate is not, by its ticket, once one is needed.
func TestTicketsWithoutCertificate(t *testing.T) {
	ours := authority.New(t)
	a := ClientAuth{CA: authority.Roots(t, ours), Mode: "request"}
	g := newGuarded(t, a)
	defer g.Close()
	conf := g.client()
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	s, _, err := g.meet(conf)
	if err != nil {
		t.Fatal(err)
	}
	if who, ok, err := g.Terms().Subject(&s); who != "" || ok || err != nil {
		t.Errorf("a client without certificate is %q, %v, %v", who, ok, err)
	}
	a.Mode = "require"
	use, err := g.Prepare(a)
	if err != nil {
		t.Fatal(err)
	}
	use()
	if _, _, err := g.meet(conf); err == nil {
		t.Error("its ticket lets it in")
	}
	if _, _, err := g.Terms().Subject(&s); err != errNoCertificate {
		t.Errorf("its connection from before is told %v; want %v", err, errNoCertificate)
	}
}

func TestRootsAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, others := authority.New(t), authority.New(t)
		file := authority.Roots(t, ours)
		g := newGuarded(t, ClientAuth{CA: file})
		g.pipe = true
		alice, bob := g.client(ours.Client(t, "alice")), g.client(others.Client(t, "bob"))
		check := func(when string, a, b bool, complaints int) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			_, _, errA := g.meet(alice)
			_, _, errB := g.meet(bob)
			if (errA == nil) != a || (errB == nil) != b {
				t.Errorf("%s: alice %v, bob %v; want let in %v, %v", when, errA, errB, a, b)
			}
			if bad := when == "half written" || when == "gone"; g.Fresh() == bad {
				t.Errorf("%s: it is fresh %v", when, !bad)
			}
			if n := strings.Count(g.log.String(), "cannot be used"); n != complaints {
				t.Errorf("%s: %d complaints; want %d\n%s", when, n, complaints, &g.log)
			}
		}
		check("at first", true, false, 0)
		authority.WriteRoots(t, file, ours, others)
		check("one more", true, true, 0)
		if err := os.WriteFile(file, ours.PEM[:100], 0o600); err != nil {
			t.Fatal(err)
		}
		check("half written", true, true, 1)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		check("gone", true, true, 2)
		authority.WriteRoots(t, file, others)
		check("one less", false, true, 2)
		if n := strings.Count(g.log.String(), "clients are asked for certificates"); n != 3 {
			t.Errorf("%d times the log says what is in force; want 3\n%s", n, &g.log)
		}
		g.Close()
		g.Close()
		authority.WriteRoots(t, file, ours)
		check("closed", false, true, 2)
	})
}

// A look that finds a bad file just as a reload ends the asking is no fault for ever.
func TestALookBesideTheEndOfAsking(t *testing.T) {
	g := newGuarded(t, ClientAuth{CA: authority.Roots(t, authority.New(t))})
	old := g.Terms()
	use, err := g.Prepare(ClientAuth{})
	if err != nil {
		t.Fatal(err)
	}
	use()
	if g.renew(old, []byte("bad"), sha256.Sum256([]byte("bad")), nil) {
		t.Error("what is bad is taken")
	}
	if !g.Fresh() {
		t.Error("it is stale, though no file is in force")
	}
}

func TestFaultsOfRoots(t *testing.T) {
	ca := authority.New(t)
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "roots.pem")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	_, key := ca.Issue(t, time.Hour, "a.example")
	const remedy = "; it must hold PEM blocks CERTIFICATE"
	none := filepath.Join(t.TempDir(), "none.pem")
	var many strings.Builder
	for i := range 40 {
		many.Write(authority.Named(t, fmt.Sprintf("%d %s", i, strings.Repeat("n", 1000))).PEM)
	}
	for name, c := range map[string]struct{ file, want string }{
		"missing":   {none, " cannot be read: no such file or directory; name the PEM file of the roots of clients' certificates"},
		"empty":     {file(""), " holds no certificate" + remedy},
		"a key":     {file(string(key)), " holds no certificate" + remedy},
		"half":      {file(string(ca.PEM) + string(ca.PEM[:80])), " holds a PEM block that is not whole, as if it were not written to its end or no new line began it" + remedy},
		"faulty":    {file(string(ca.PEM) + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), " has a faulty certificate as number 2: x509: malformed certificate" + remedy},
		"too large": {file(strings.Repeat("#", 1<<20+1)), " is larger than 1 MiB; name the PEM file of the roots of clients' certificates"},
		"too many":  {file(many.String()), " has names of 41030 bytes, which each handshake would tell; name fewer roots, for at most 32768"},
	} {
		want := "tls.client_auth.ca: " + fmt.Sprintf("%q", c.file) + c.want
		if err := CheckClients(ClientAuth{CA: c.file}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v; want %s", name, err, want)
		}
		if g, err := StartClients(ClientAuth{CA: c.file}, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: it starts", name)
			g.Close()
		}
	}
	if err := CheckClients(ClientAuth{}); err != nil {
		t.Errorf("clients that are not asked: %v", err)
	}
}
