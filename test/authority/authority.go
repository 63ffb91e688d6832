// Package authority is a certificate authority for tests.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An Authority signs certificates that Pool trusts.
type Authority struct {
	Pool *x509.CertPool
	PEM  []byte // of its own certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	sent [][]byte // what clients show behind their own: authorities below a root
}

// New makes an authority. It and what it signs are valid by the clock of now, which
// in a synctest bubble is the bubble's.
func New(t testing.TB) *Authority {
	t.Helper()
	return Named(t, "authority of a test")
}

// Named makes one of another name.
func Named(t testing.TB, name string) *Authority {
	t.Helper()
	a := &Authority{Pool: x509.NewCertPool()}
	der, key := sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(10 * 365 * 24 * time.Hour),
	}, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.key = key
	a.PEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	a.Pool.AddCert(a.cert)
	return a
}

// Issue makes a certificate with its authority's behind it, and its key, as PEM. It
// is for the names and addresses given and valid for so long.
func (a *Authority) Issue(t testing.TB, valid time.Duration, names ...string) (cert, key []byte) {
	t.Helper()
	c := &x509.Certificate{NotAfter: time.Now().Add(valid), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
			continue
		}
		c.DNSNames = append(c.DNSNames, n)
	}
	der, k := sign(t, c, a)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), a.PEM...)
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// sign makes a key and the certificate that c describes, signed by a or, where that
// is nil, by itself.
func sign(t testing.TB, c *x509.Certificate, a *Authority) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := c, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		t.Fatal(err)
	}
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-365 * 24 * time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// A Pair is the names of a certificate's and a key's file.
type Pair struct{ Cert, Key string }

// Files are a new pair, valid for a year, in files of a directory of the test's.
func (a *Authority) Files(t testing.TB, names ...string) Pair {
	t.Helper()
	dir := t.TempDir()
	p := Pair{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	p.Write(t, a, 365*24*time.Hour, names...)
	return p
}

// Write puts a new pair into the files.
func (p Pair) Write(t testing.TB, a *Authority, valid time.Duration, names ...string) {
	t.Helper()
	cert, key := a.Issue(t, valid, names...)
	p.Put(t, cert, key)
}

// Put writes these contents into the files.
func (p Pair) Put(t testing.TB, cert, key []byte) {
	t.Helper()
	for name, b := range map[string][]byte{p.Cert: cert, p.Key: key} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
