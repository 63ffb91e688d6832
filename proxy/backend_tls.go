package proxy

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"sidecar/regular"
)

// clientTLS is how a wss backend is spoken to.
func clientTLS(u Upstream, name string) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if u.ServerName != "" {
		cfg.ServerName = u.ServerName
	}
	if u.CA != "" {
		text, err := readPEM("upstream.ca", u.CA)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("reading upstream.ca: %q holds no certificate", u.CA)
		}
	}
	if u.Cert == "" {
		return cfg, nil
	}
	cert, err := readPEM("upstream.cert", u.Cert)
	if err != nil {
		return nil, err
	}
	key, err := readPEM("upstream.key", u.Key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("reading upstream.cert: %w", err)
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}

// maxPEM bounds a file of an upstream's. A system's roots take a quarter of a MiB.
const maxPEM = 4 << 20

// readPEM reads a file that must have been written to its end: crypto/x509 takes what
// is there, and so for less than was meant, where a reload meets somebody who writes.
func readPEM(key, name string) ([]byte, error) {
	text, err := regular.Read(name, maxPEM)
	switch unfit := regular.Unfit(""); {
	case errors.As(err, &unfit):
		return nil, fmt.Errorf("reading %s: %q %w", key, name, err)
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	begun, whole := bytes.Count(text, []byte("-----BEGIN ")), 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		whole++
	}
	if whole != begun {
		return nil, fmt.Errorf("reading %s: %q is not whole, as if it were not written to its end", key, name)
	}
	return text, nil
}
