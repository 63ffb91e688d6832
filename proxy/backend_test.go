package proxy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTarget(t *testing.T) {
	for _, c := range []struct{ url, prefix, in, want string }{
		{"ws://h", "/chat", "/chat/a?b=c", "/chat/a?b=c"},
		{"ws://h", "/", "/?", "/?"},
		{"ws://h", "/", "//evil.example/x", "//evil.example/x"},
		{"ws://h/app", "/chat", "/chat", "/app"},
		{"ws://h/app", "/chat", "/chat/", "/app/"},
		{"ws://h/app", "/chat/", "/chat/a/b?x=%2F;y&&z", "/app/a/b?x=%2F;y&&z"},
		{"ws://h/app/", "/chat", "/chat", "/app/"},
		{"ws://h/app/", "/chat", "/chat/a", "/app/a"},
		{"ws://h/", "/chat", "/chat/a", "/a"},
		{"ws://h/", "/chat", "/chat", "/"},
		{"ws://h/a%2fb", "/chat", "/chat/c", "/a%2fb/c"},
		{"ws://h/app", "/", "/chat/a", "/app/chat/a"},
		{"ws://h/app", "/chat", "/chat/chat/a", "/app/chat/a"},
		{"ws://h", "/", "/a%2fb/%41/%7E;p=1/../%2e%2e/c", "/a%2fb/%41/%7E;p=1/../%2e%2e/c"},
		{"ws://h", "/", "/a%2fb|c", "/a%2fb%7Cc"}, // escaping one byte leaves the others as they are
		{"ws://h", "/", `/%2e%2f"<é^{}` + "`", "/%2e%2f%22%3C%C3%A9%5E%7B%7D%60"},
		{"ws://h/app", "/chat", "/chat/%2e|", "/app/%2e%7C"},
	} {
		b, err := NewBackend(Upstream{URL: c.url}, c.prefix)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + c.in + " HTTP/1.1\r\nHost: a\r\n\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		if got := b.target(r.URL); got != c.want {
			t.Errorf("%s in place of %s: target(%q) = %q; want %q", c.url, c.prefix, c.in, got, c.want)
		}
	}
}

func TestUnixSocketBackend(t *testing.T) {
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	rec := record(ln, says(handshakeAnswer("")+"\x81\x02hi"))
	d := newDoor(t, Upstream{Socket: rec.addr}, "/")
	p, res := d.ask(handshakeRequest(""))
	wantStatus(t, res, 101)
	p.want(0x80|opText, "hi")
	p.send(p.frame(0x80|opClose, "\x03\xe8"))
	p.conn.Close()
	if got := rec.all(t, 1)[0]; !strings.HasPrefix(got, "GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\n") {
		t.Errorf("backend got %q; want the client's path and Host", got)
	}
}

// A ca signs certificates for one test and keeps them in files.
type ca struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newCA(t *testing.T) *ca {
	a := &ca{t: t, dir: t.TempDir(), pool: x509.NewCertPool()}
	a.cert, a.key = a.sign("ca", nil)
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a certificate for the name, and name.pem and name.key.
func (a *ca) sign(name string, by *ca) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IsCA: by == nil, BasicConstraintsValid: true,
	}
	parent, signer := tmpl, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+".key", "PRIVATE KEY", secret)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *ca) file(name string) string { return filepath.Join(a.dir, name) }

func (a *ca) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.file(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// listen is a TLS backend of the name that wants a client's certificate.
func (a *ca) listen(name string) net.Listener {
	a.t.Helper()
	a.sign(name, a)
	pair, err := tls.LoadX509KeyPair(a.file(name+".pem"), a.file(name+".key"))
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.NewListener(listen(a.t), &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool,
	})
}

func TestSecureBackend(t *testing.T) {
	a, other := newCA(t), newCA(t)
	a.sign("client.test", a)
	rec := record(a.listen("backend.test"), func(v *visit) {
		if strings.Contains(v.head, "Upgrade: websocket") {
			v.say(handshakeAnswer("") + "\x81\x02hi")
			v.r.Peek(6) // of the close
			v.say("\x88\x02\x03\xe8")
			return
		}
		v.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	right := Upstream{
		URL: "wss://" + rec.addr, CA: a.file("ca.pem"), ServerName: "backend.test",
		Cert: a.file("client.test.pem"), Key: a.file("client.test.key"),
	}
	for _, c := range []struct {
		name  string
		wrong func(u *Upstream)
	}{
		{"another authority", func(u *Upstream) { u.CA = other.file("ca.pem") }},
		{"the system's authorities", func(u *Upstream) { u.CA = "" }},
		{"another name", func(u *Upstream) { u.ServerName = "evil.test" }},
		{"no certificate of ours", func(u *Upstream) { u.Cert, u.Key = "", "" }},
	} {
		u := right
		c.wrong(&u)
		d := newDoor(t, u, "/")
		for _, request := range []string{handshakeRequest(""), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"} {
			if _, res := d.ask(request); res.StatusCode != http.StatusBadGateway {
				t.Errorf("%s: status = %d; want 502", c.name, res.StatusCode)
			}
		}
		if !d.seen.has("dialed error") {
			t.Errorf("%s: events = %q; want dialed error", c.name, d.seen.events)
		}
	}
	for _, v := range rec.list() {
		if got := v.got.String(); got != "" {
			t.Errorf("a backend that was not trusted got %q; want nothing", got)
		}
	}

	d := newDoor(t, right, "/")
	p, res := d.ask(handshakeRequest(""))
	wantStatus(t, res, 101)
	p.want(0x80|opText, "hi")
	p.send(p.frame(0x80|opClose, "\x03\xe8"))
	p.wantClose(1000)
	p.wantEnd()
	_, res = d.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	wantStatus(t, res, 200)
	if err := d.raw.Backend.Check(context.Background()); err != nil {
		t.Errorf("Check = %v; want nil", err)
	}
}
