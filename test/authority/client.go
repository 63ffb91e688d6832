package authority

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Client is a client's certificate with this common name, valid for a day.
func (a *Authority) Client(t testing.TB, name string) tls.Certificate {
	t.Helper()
	return a.ClientOf(t, 24*time.Hour, Subject(t, pkix.Name{CommonName: name}.ToRDNSequence()))
}

// Subject is a name in DER.
func Subject(t testing.TB, name pkix.RDNSequence) []byte {
	t.Helper()
	der, err := asn1.Marshal(name)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// ClientOf is a client's certificate that is valid for so long, with a subject in DER.
func (a *Authority) ClientOf(t testing.TB, valid time.Duration, subject []byte) tls.Certificate {
	t.Helper()
	return a.ClientWith(t, func(c *x509.Certificate) { c.RawSubject, c.NotAfter = subject, time.Now().Add(valid) })
}

// ClientWith is a client's certificate, valid for a day, that is changed before it is
// signed. The authorities between a and a root are behind it.
func (a *Authority) ClientWith(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	c := &x509.Certificate{
		NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	change(c)
	der, key := sign(t, c, a)
	return tls.Certificate{Certificate: append([][]byte{der}, a.sent...), PrivateKey: key}
}

// Below makes an authority that a has signed, valid for so long. Its Pool is a's.
func (a *Authority) Below(t testing.TB, name string, valid time.Duration) *Authority {
	t.Helper()
	der, key := sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(valid),
	}, a)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Authority{
		Pool: a.Pool, PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		cert: cert, key: key, sent: append([][]byte{der}, a.sent...),
	}
}

// Expires is the end of the authority's own certificate.
func (a *Authority) Expires() time.Time { return a.cert.NotAfter }

// As makes an authority of a client's certificate that a has signed, which it may not be.
func (a *Authority) As(t testing.TB, cert *x509.Certificate, client tls.Certificate) *Authority {
	t.Helper()
	key, ok := client.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatalf("a key of type %T", client.PrivateKey)
	}
	return &Authority{Pool: a.Pool, cert: cert, key: key, sent: append([][]byte{cert.Raw}, a.sent...)}
}

// SelfSigned is a server's certificate that nobody else has signed, and what trusts it.
func SelfSigned(t testing.TB, name string) (tls.Certificate, *Authority) {
	t.Helper()
	der, key := sign(t, &x509.Certificate{
		DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, nil)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, &Authority{PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// Roots is a file of a directory of the test's with the authorities' certificates.
func Roots(t testing.TB, all ...*Authority) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "roots.pem")
	WriteRoots(t, name, all...)
	return name
}

// WriteRoots puts the authorities' certificates into a file.
func WriteRoots(t testing.TB, name string, all ...*Authority) {
	t.Helper()
	var text []byte
	for _, a := range all {
		text = append(text, a.PEM...)
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
