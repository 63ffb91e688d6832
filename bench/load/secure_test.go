//go:build linux

package load

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"
)

// pairOfTLS is a server's configuration, and one of clients that trust it.
func pairOfTLS(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return server, &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

func asItIs(_ int, b []byte) []byte { return b }

func TestEchoesOverTLS(t *testing.T) {
	conf, clients := pairOfTLS(t)
	for _, size := range []int{8, 64, 16 << 10, 100 << 10} {
		r := rig(t)
		r.Secure(clients)
		w, err := r.Open(overTLS(t, conf, r.Backend(), asItIs), 10, size)
		if err != nil {
			t.Fatal(err)
		}
		n, _, err := w.Echo(30 * time.Millisecond)
		if err != nil || n < 10 {
			t.Errorf("%d bytes: %d echoes, %v; want 10 at least", size, n, err)
		}
		// Each record has 22 bytes more than what is in it (RFC 8446 section 5.2).
		if sent, got := w.Wire(); sent < n*(size+22) || got < n*(size+22) {
			t.Errorf("%d bytes: %d and %d on the wire for %d echoes", size, sent, got, n)
		}
		r.Close()
	}
}

func TestTurnstileOverTLS(t *testing.T) {
	conf, clients := pairOfTLS(t)
	var mu sync.Mutex
	hands := 0
	conf.VerifyConnection = func(tls.ConnectionState) error { mu.Lock(); defer mu.Unlock(); hands++; return nil }
	r := rig(t)
	r.Secure(clients)
	w, err := r.Turnstile(overTLS(t, conf, r.Backend(), asItIs), 4)
	if err != nil {
		t.Fatal(err)
	}
	all := 0
	for range 2 {
		n, _, err := w.Turn(30 * time.Millisecond)
		if all += n; err != nil || n < 4 {
			t.Errorf("%d turns, %v; want 4 at least", n, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if hands != all {
		t.Errorf("%d turns had %d TLS handshakes; want one each", all, hands)
	}
	r.Close()
}

// What is wrong with a single connection's echo or close is noticed as well.
func TestWrongTurnsAreCaught(t *testing.T) {
	conf, clients := pairOfTLS(t)
	for _, over := range []struct{ server, client *tls.Config }{{nil, nil}, {conf, clients}} {
		for name, wrong := range wrongs {
			r := rig(t)
			r.Secure(over.client)
			w, err := r.Turnstile(overTLS(t, over.server, r.Backend(), func(n int, b []byte) []byte {
				if n == 1 {
					return wrong(b)
				}
				return b
			}), 3)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := w.Turn(10 * time.Millisecond); err == nil {
				t.Errorf("over TLS %v: a proxy that %s was not noticed", over.client != nil, name)
			}
			r.Close()
		}
	}
}

func TestWrongTLSIsCaught(t *testing.T) {
	conf, clients := pairOfTLS(t)
	for _, c := range []struct {
		name, want string
		do         func(n int, b []byte) []byte
	}{
		{"flips a bit of a record", "bad record MAC", func(n int, b []byte) []byte {
			if n > 2 {
				b[len(b)-1] ^= 1
			}
			return b
		}},
		{"spoils the handshake", "shaking hands over TLS", func(n int, b []byte) []byte { b[0] = 0x99; return b }},
		{"cuts a connection off", "without close_notify", func(n int, b []byte) []byte {
			if n > 2 {
				return nil
			}
			return b
		}},
	} {
		r := rig(t)
		r.Secure(clients)
		w, err := r.Open(through(t, overTLS(t, conf, r.Backend(), asItIs), c.do), 1, 64)
		if err == nil {
			err = echoes(w)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("a proxy that %s: %v; want %q", c.name, err, c.want)
		}
		r.Close()
	}
}

func TestWhoIsNotTrustedIsTold(t *testing.T) {
	conf, _ := pairOfTLS(t)
	_, clients := pairOfTLS(t)
	r := rig(t)
	r.Secure(clients)
	if _, err := r.Open(overTLS(t, conf, r.Backend(), asItIs), 1, 64); err == nil || !strings.Contains(err.Error(), "x509") {
		t.Errorf("a certificate of another: %v; want x509's word", err)
	}
	r.Close()
}

// Polls go over TLS too, and so does all that has kept-alive connections.
func TestPollsOverTLS(t *testing.T) {
	conf, clients := pairOfTLS(t)
	r := rig(t)
	r.Secure(clients)
	var e engine
	w, err := r.Poll(overTLS(t, conf, e.serve(t), asItIs), 3, 64)
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := w.Echo(30 * time.Millisecond); err != nil || n < 3 {
		t.Errorf("%d echoes, %v; want 3 at least", n, err)
	}
	r.Close()
}
