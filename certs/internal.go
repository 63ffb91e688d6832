package certs

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"

	"sidecar/regular"
)

const (
	rootCert = "internal/root.crt"
	rootKey  = "internal/root.key"
	rootLife = 10 * 365 * 24 * time.Hour
	leafLife = 7 * 24 * time.Hour
	// lag is the part of its life that a certificate begins before it is made, for
	// clients whose clock is late. certmagic reckons what is left from there.
	lag = 100
)

// A local is an authority of our own, for development: a certmagic.Issuer. Its root
// is in storage, made on the first start under a lock of the storage, so that
// instances that share it have one.
type local struct {
	store certmagic.Storage
	path  string // of the storage
	log   *slog.Logger
	life  time.Duration // of what it issues

	mu   sync.Mutex
	root *x509.Certificate // nil until it is needed
	key  crypto.Signer
}

var errNoRoot = errors.New("there is no root")

// IssuerKey names it in storage.
func (l *local) IssuerKey() string { return "internal" }

// Issue signs what csr asks for.
func (l *local) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	root, key, err := l.authority(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the local root: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("checking the request: %w", err)
	}
	end := time.Now().Add(l.life)
	if root.NotAfter.Before(end) {
		end = root.NotAfter
	}
	leaf := &x509.Certificate{
		SerialNumber: serial(), DNSNames: csr.DNSNames, IPAddresses: csr.IPAddresses,
		NotBefore: time.Now().Add(-l.life / lag), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, csr.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return &certmagic.IssuedCertificate{Certificate: pemOf(der)}, nil
}

// authority is the root and its key, which it makes where there is none.
func (l *local) authority(ctx context.Context) (*x509.Certificate, crypto.Signer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.root != nil && time.Now().Before(l.root.NotAfter) {
		return l.root, l.key, nil
	}
	l.root, l.key = nil, nil
	const lock = "internal_root"
	if err := l.store.Lock(ctx, lock); err != nil {
		return nil, nil, err
	}
	defer func() { _ = l.store.Unlock(context.WithoutCancel(ctx), lock) }()
	err := l.load(ctx)
	if errors.Is(err, errNoRoot) {
		err = l.make(ctx)
	}
	return l.root, l.key, err
}

// disowns reports whether leaf is of a root that was here before, as after an operator
// has removed that: clients trust the one that there is now.
func (l *local) disowns(ctx context.Context, leaf *x509.Certificate) bool {
	root, _, err := l.authority(ctx)
	return err == nil && leaf.CheckSignatureFrom(root) != nil
}

func (l *local) load(ctx context.Context) error {
	certText, err := l.store.Load(ctx, rootCert)
	if errors.Is(err, fs.ErrNotExist) {
		return errNoRoot
	}
	if err != nil {
		return err
	}
	keyText, err := l.store.Load(ctx, rootKey)
	if errors.Is(err, fs.ErrNotExist) { // a new root would be one that no client trusts
		return fmt.Errorf("%s is there without its %s; restore that, or remove both for new ones", rootCert, filepath.Base(rootKey))
	}
	if err != nil {
		return err
	}
	root, err := parseRoot(certText)
	if err != nil {
		return err
	}
	if !root.IsCA {
		return fmt.Errorf("%s is no authority's; remove %s for a new one", rootCert, filepath.Join(l.path, "internal"))
	}
	if time.Now().After(root.NotAfter) {
		return fmt.Errorf("it expired at %s; remove %s for a new one", root.NotAfter.Format(time.RFC3339), filepath.Join(l.path, "internal"))
	}
	key, err := certmagic.PEMDecodePrivateKey(keyText)
	if err != nil {
		return err
	}
	if own, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !own.Equal(root.PublicKey) {
		return fmt.Errorf("%s does not belong to %s; remove both for new ones", rootKey, rootCert)
	}
	l.root, l.key = root, key
	return nil
}

// make makes the root. The key is stored first: a certificate without its key would
// be trusted by clients and be good for nothing.
func (l *local) make(ctx context.Context) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	host, _ := os.Hostname()
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "sidecar local CA " + host},
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage:  x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		NotBefore: time.Now().Add(-rootLife / lag), NotAfter: time.Now().Add(rootLife),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	keyText, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		return err
	}
	if err := errors.Join(l.store.Store(ctx, rootKey, keyText), l.store.Store(ctx, rootCert, pemOf(der))); err != nil {
		return err
	}
	if l.root, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	l.key = key
	l.log.Info("made a local authority; clients have to trust its root, which sidecar root prints",
		"root", filepath.Join(l.path, filepath.FromSlash(rootCert)), "sha256", Fingerprint(l.root), "expires", l.root.NotAfter)
	return nil
}

// Fingerprint is the SHA-256 of c, as browsers and openssl show it but without colons.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return n.Add(n, big.NewInt(1)) // RFC 5280 section 4.1.2.2: positive
}

func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func parseRoot(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(bytes.TrimSpace(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s holds no certificate", rootCert)
	}
	return x509.ParseCertificate(block.Bytes)
}

// Root is the PEM of the local authority's root in the storage that s names. It makes
// nothing.
func Root(s Settings) ([]byte, error) {
	dir, err := s.Dir()
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, filepath.FromSlash(rootCert))
	text, err := regular.Read(name, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no local authority yet: no %s; it is made when sidecar first runs with tls.mode internal", name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the root: %w", err)
	}
	if _, err := parseRoot(text); err != nil {
		return nil, fmt.Errorf("reading the root: %s: %w", name, err)
	}
	return text, nil
}
