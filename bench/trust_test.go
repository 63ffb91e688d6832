//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestHandshakesAreAsAgreed(t *testing.T) {
	shown := func(curve elliptic.Curve) *x509.Certificate {
		return &x509.Certificate{PublicKey: &ecdsa.PublicKey{Curve: curve}}
	}
	good := tls.ConnectionState{CipherSuite: tls.TLS_AES_128_GCM_SHA256, PeerCertificates: []*x509.Certificate{shown(elliptic.P256())}}
	if err := asAgreed(good); err != nil {
		t.Errorf("as it is to be: %v", err)
	}
	for what, change := range map[string]func(*tls.ConnectionState){
		"cipher":           func(s *tls.ConnectionState) { s.CipherSuite = tls.TLS_AES_256_GCM_SHA384 },
		"resumed":          func(s *tls.ConnectionState) { s.DidResume = true },
		"2 certificates":   func(s *tls.ConnectionState) { s.PeerCertificates = append(s.PeerCertificates, shown(elliptic.P256())) },
		"want one with":    func(s *tls.ConnectionState) { s.PeerCertificates[0] = shown(elliptic.P384()) },
		"*rsa.PublicKey; ": func(s *tls.ConnectionState) { s.PeerCertificates[0] = &x509.Certificate{PublicKey: &rsa.PublicKey{}} },
	} {
		s := good
		s.PeerCertificates = slices.Clone(good.PeerCertificates)
		if change(&s); asAgreed(s) == nil || !strings.Contains(asAgreed(s).Error(), what) {
			t.Errorf("%s: %v", what, asAgreed(s))
		}
	}
}

// Clients are offered tickets, and are served by a whole handshake again. What keys
// are exchanged by is as the work has it.
func TestEveryHandshakeIsWhole(t *testing.T) {
	g := ground{dir: t.TempDir()}
	if err := g.certify(); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(g.dir, "cert.pem"), filepath.Join(g.dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	tickets := 0
	conf := &tls.Config{Certificates: []tls.Certificate{pair}}
	conf.WrapSession = func(s tls.ConnectionState, state *tls.SessionState) ([]byte, error) {
		tickets++
		return conf.EncryptTicket(s, state)
	}
	for _, hybrid := range []bool{false, true} {
		clients, want := clientTLS(g.roots, hybrid), tls.X25519
		if hybrid {
			want = tls.X25519MLKEM768
		}
		for range 2 {
			if s, err := once(conf, clients); err != nil || s.DidResume || s.CurveID != want || s.ServerName != host {
				t.Errorf("%v, resumed: %v, for %q, %v; want %v, whole, for %q", s.CurveID, s.DidResume, s.ServerName, err, want, host)
			}
		}
	}
	if tickets != 4 {
		t.Errorf("%d tickets in four handshakes; want one each", tickets)
	}
}

// once shakes hands and says one byte, and returns what the server knows then.
func once(server, client *tls.Config) (tls.ConnectionState, error) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	heard := make(chan error)
	go func() {
		c := tls.Client(near, client)
		_, err := c.Read(make([]byte, 1)) // tickets come before it
		heard <- err
	}()
	s := tls.Server(far, server)
	_, err := s.Write([]byte{1})
	if err != nil {
		near.Close()
		<-heard
		return tls.ConnectionState{}, err
	}
	return s.ConnectionState(), <-heard
}
