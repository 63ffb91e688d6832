package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"sidecar/regular"
)

// maxFile bounds what is read of a file. A chain takes some KiB.
const maxFile = 1 << 20

// files are a certificate's and its key's names.
type files struct{ cert, key string }

// filesOf are the pairs of s, in order.
func filesOf(s Settings) []files {
	all := make([]files, min(len(s.Cert), len(s.Key)))
	for i := range all {
		all[i] = files{s.Cert[i], s.Key[i]}
	}
	return all
}

// A content is what both files held at one time.
type content struct{ cert, key []byte }

// sum stands for a content. The key is not kept a second time to compare with.
func (c content) sum() [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%d ", len(c.cert)) // what moves from one file to the other is a change
	h.Write(c.cert)
	h.Write(c.key)
	return [sha256.Size]byte(h.Sum(nil))
}

// read reads both files, and tells the faults of both.
func (f files) read() (c content, err error) {
	var first, second error
	c.cert, first = readFile("tls.cert", f.cert, "name the PEM file of a certificate and its chain")
	c.key, second = readFile("tls.key", f.key, "name the PEM file of the certificate's key")
	return c, errors.Join(first, second)
}

func readFile(key, name, remedy string) ([]byte, error) {
	b, err := regular.Read(name, maxFile)
	switch unfit := regular.Unfit(""); {
	case errors.As(err, &unfit):
		return nil, fmt.Errorf("%s: %q %w; %s", key, name, err, remedy)
	case err != nil:
		return nil, fmt.Errorf("%s: %q cannot be read: %s; %s", key, name, why(err), remedy)
	}
	return b, nil
}

// why is an error of the file system without the file's name.
func why(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// A pair is a certificate with its key, ready for handshakes.
type pair struct {
	files files
	sum   [sha256.Size]byte
	cert  *tls.Certificate
	leaf  *x509.Certificate
	names []string // of leaf
}

// loadAll loads each of all, and tells the faults of all.
func loadAll(all []files) ([]*pair, error) {
	var faults []error
	pairs := make([]*pair, len(all))
	for i, f := range all {
		var err error
		pairs[i], err = load(f)
		faults = append(faults, err)
	}
	return pairs, errors.Join(faults...)
}

// load reads and checks the pair in f. What does not fit together is read again, once:
// both files may have been replaced between the reading of the one and of the other, as
// Kubernetes does by one symbolic link.
func load(f files) (*pair, error) {
	c, err := f.read()
	if err != nil {
		return nil, err
	}
	p, err := parse(f, c)
	if err == nil {
		return p, nil
	}
	if again, e := f.read(); e == nil && again.sum() != c.sum() {
		return parse(f, again)
	}
	return nil, err
}

// parse makes a pair of what the files f held. It refuses more than crypto/tls
// does, which overlooks a certificate of the chain that is not whole.
func parse(f files, c content) (*pair, error) {
	if err := errors.Join(checkCert(f.cert, c.cert), checkKey(f.key, c.key)); err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(c.cert, c.key)
	if err != nil && strings.Contains(err.Error(), "does not match") {
		return nil, fmt.Errorf("tls.key: %q does not belong to the certificate in %q; name the key that it was made for", f.key, f.cert)
	}
	if err != nil {
		return nil, fmt.Errorf("tls.key: %q cannot be used with the certificate in %q: %w; name another pair", f.key, f.cert, err)
	}
	return &pair{files: f, sum: c.sum(), cert: &cert, leaf: cert.Leaf, names: names(cert.Leaf)}, nil
}

func checkCert(name string, text []byte) error {
	fault := func(what string, a ...any) error {
		return fmt.Errorf("tls.cert: %q %w; it must hold PEM blocks CERTIFICATE, the server's own first", name, fmt.Errorf(what, a...))
	}
	n := 0
	all, whole := blocks(text)
	for _, block := range all {
		if block.Type != "CERTIFICATE" {
			continue
		}
		n++
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fault("has a faulty certificate as number %d: %w", n, err)
		}
	}
	switch {
	case !whole:
		return fault(notWhole)
	case n == 0:
		return fault("holds no certificate")
	}
	return nil
}

func checkKey(name string, text []byte) error {
	fault := func(what string) error {
		return fmt.Errorf("tls.key: %q %s; it must hold a PEM block PRIVATE KEY, not encrypted", name, what)
	}
	found := false
	all, whole := blocks(text)
	for _, block := range all {
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return fault("holds an encrypted key")
		}
		found = found || block.Type == "PRIVATE KEY" || strings.HasSuffix(block.Type, " PRIVATE KEY")
	}
	switch {
	case !whole:
		return fault(notWhole)
	case !found:
		return fault("holds no key")
	}
	return nil
}

const notWhole = "holds a PEM block that is not whole, as if it were not written to its end or no new line began it"

// blocks are the PEM blocks of text. Without a word pem.Decode passes over what is
// none although it begins as one; whole reports that there is no such thing.
func blocks(text []byte) (all []*pem.Block, whole bool) {
	begun := bytes.Count(text, []byte("-----BEGIN"))
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return all, len(all) == begun
		}
		all, text = append(all, block), rest
	}
}

// names are a certificate's names and addresses.
func names(c *x509.Certificate) []string {
	all := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}
