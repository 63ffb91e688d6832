package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	rootsKey    = "tls.client_auth.ca"
	rootsRemedy = "name the PEM file of the roots of clients' certificates"
	// maxNames bounds the roots' names together. Each handshake tells them, so that a
	// client can choose, in a message that has room for 64 KiB.
	maxNames = 32 << 10
)

// roots are what clients' certificates must lead to.
type roots struct {
	sum   [sha256.Size]byte // of the file
	pool  *x509.CertPool
	known map[string]struct{} // each whole, in DER
	ends  time.Time           // the first one's
}

// readRoots reads the file, and its sum; of the fault where it cannot be read.
func readRoots(name string) (text []byte, sum [sha256.Size]byte, err error) {
	if text, err = readFile(rootsKey, name, rootsRemedy); err != nil {
		return nil, sha256.Sum256([]byte(err.Error())), err
	}
	return text, sha256.Sum256(text), nil
}

func loadRoots(name string) (*roots, error) {
	text, sum, err := readRoots(name)
	if err != nil {
		return nil, err
	}
	return parseRoots(name, text, sum)
}

// parseRoots makes roots of what the file held. One faulty certificate is a fault of
// all: who is trusted must not depend on how far a file was written.
func parseRoots(name string, text []byte, sum [sha256.Size]byte) (*roots, error) {
	fault := func(what string, a ...any) error {
		return fmt.Errorf("%s: %q %w; it must hold PEM blocks CERTIFICATE", rootsKey, name, fmt.Errorf(what, a...))
	}
	r := &roots{sum: sum, pool: x509.NewCertPool(), known: map[string]struct{}{}}
	all, whole := blocks(text)
	told := 0
	for _, block := range all {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fault("has a faulty certificate as number %d: %w", len(r.known)+1, err)
		}
		r.add(c)
		told += len(c.RawSubject) + 2
	}
	switch {
	case !whole:
		return nil, fault(notWhole)
	case len(r.known) == 0:
		return nil, fault("holds no certificate")
	case told > maxNames:
		return nil, fmt.Errorf("%s: %q has names of %d bytes, which each handshake would tell; name fewer roots, for at most %d", rootsKey, name, told, maxNames)
	}
	return r, nil
}

func (r *roots) add(c *x509.Certificate) {
	r.pool.AddCert(c)
	r.known[string(c.Raw)] = struct{}{}
	if r.ends.IsZero() || c.NotAfter.Before(r.ends) {
		r.ends = c.NotAfter
	}
}

var errRoots = errors.New("client certificate leads to no root that is trusted now")

// check says whether one of the chains that a handshake found is still good: it ends
// here, and nothing in it has expired. The handshake was perhaps before the roots
// changed.
func (r *roots) check(chains [][]*x509.Certificate) error {
	err := errRoots
	for _, chain := range chains {
		if len(chain) == 0 {
			continue
		}
		if _, ok := r.known[string(chain[len(chain)-1].Raw)]; !ok {
			continue
		}
		if !slices.ContainsFunc(chain, hasExpired) {
			return nil
		}
		err = errExpired
	}
	return err
}

func hasExpired(c *x509.Certificate) bool { return time.Now().After(c.NotAfter) }
