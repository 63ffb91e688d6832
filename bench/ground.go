//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// A ground is what all runs share.
type ground struct {
	dir            string         // a temporary one, with the certificate's files
	sidecar, other string         // built programs
	roots          *x509.CertPool // the certificate, which clients over TLS trust
}

// prepare makes g. The function that it returns removes it.
func (g *ground) prepare(ctx context.Context) (end func(), err error) {
	if g.dir, err = os.MkdirTemp("", "sidecar-bench"); err != nil {
		return nil, err
	}
	end = func() { os.RemoveAll(g.dir) }
	if err = g.certify(); err == nil {
		err = g.build(ctx)
	}
	if err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// build builds the sidecar of the tree that this is run in, as make build does,
// unless a built one was named.
func (g *ground) build(ctx context.Context) (err error) {
	for _, p := range []*string{&g.sidecar, &g.other} {
		if *p != "" {
			if *p, err = filepath.Abs(*p); err != nil {
				return err
			}
		}
	}
	if g.sidecar != "" {
		return nil
	}
	g.sidecar = filepath.Join(g.dir, "sidecar")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", g.sidecar, "sidecar/cmd/sidecar")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the sidecar: %w: %s", err, out)
	}
	return nil
}

// certify makes the certificate that every peer shows: ECDSA on P-256, signed by
// itself.
func (g *ground) certify() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{host}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	g.roots = x509.NewCertPool()
	g.roots.AppendCertsFromPEM(cert)
	return errors.Join(g.keep("cert.pem", cert), g.keep("key.pem", secret), g.keep("both.pem", append(cert, secret...)))
}

func (g *ground) keep(name string, b []byte) error {
	return os.WriteFile(filepath.Join(g.dir, name), b, 0o600)
}
