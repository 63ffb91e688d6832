//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// host is the name that clients over TLS ask for.
const host = "localhost"

// clientTLS is TLS of clients that trust roots. All that costs a proxy time is the
// same with every peer: what one of them would choose otherwise is not offered, or
// is a fault. Only with hybrid, which is how browsers come, a peer that knows
// X25519MLKEM768 does more than one that does not.
func clientTLS(roots *x509.CertPool, hybrid bool) *tls.Config {
	exchange := []tls.CurveID{tls.X25519}
	if hybrid {
		exchange = []tls.CurveID{tls.X25519MLKEM768, tls.X25519}
	}
	return &tls.Config{
		RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"},
		CurvePreferences:   exchange,
		ClientSessionCache: forgetful{}, VerifyConnection: asAgreed,
		DynamicRecordSizingDisabled: true,
	}
}

// forgetful is a cache of sessions that keeps none: peers make their tickets, as they
// do for browsers, and every handshake is a whole one.
type forgetful struct{}

func (forgetful) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (forgetful) Put(string, *tls.ClientSessionState)        {}

// asAgreed reports what of a handshake is not as all are to be.
func asAgreed(s tls.ConnectionState) error {
	key, _ := s.PeerCertificates[0].PublicKey.(*ecdsa.PublicKey)
	switch {
	case s.CipherSuite != tls.TLS_AES_128_GCM_SHA256:
		return fmt.Errorf("the cipher is %s; want %s", tls.CipherSuiteName(s.CipherSuite), tls.CipherSuiteName(tls.TLS_AES_128_GCM_SHA256))
	case s.DidResume:
		return errors.New("a session was resumed")
	case key == nil || key.Curve != elliptic.P256() || len(s.PeerCertificates) != 1:
		return fmt.Errorf("%d certificates came, the first with a %T; want one with ECDSA on P-256", len(s.PeerCertificates), s.PeerCertificates[0].PublicKey)
	}
	return nil
}

// trusting is TLS of a's clients at s, for w. Where a makes its own certificate, it
// waits for that.
func (g *ground) trusting(ctx context.Context, w work, a peer, s site) (*tls.Config, error) {
	if !a.managed {
		return clientTLS(g.roots, w.hybrid), nil
	}
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		roots, err := s.roots()
		conf := clientTLS(roots, w.hybrid)
		if err == nil {
			err = shake(ctx, s.Listen, conf)
		}
		if err == nil {
			return conf, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for a certificate: %w", err)
		}
	}
}

// roots is the local authority's of the sidecar at s.
func (s site) roots() (*x509.CertPool, error) {
	text, err := os.ReadFile(filepath.Join(s.Storage(), "internal", "root.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("the local root is %q", text)
	}
	return roots, nil
}

// shake shakes hands once.
func shake(ctx context.Context, addr string, conf *tls.Config) error {
	d := tls.Dialer{Config: conf}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return c.Close()
}
