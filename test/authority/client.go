package authority

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
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
	der, key := sign(t, &x509.Certificate{
		RawSubject: subject, NotAfter: time.Now().Add(valid), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
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
