package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

// Many who start at once on one storage have one root.
func TestManyStartsMakeOneRoot(t *testing.T) {
	dir := t.TempDir()
	var all []*managed
	for _, name := range []string{"a.example", "b.example", "c.example", "d.example"} {
		all = append(all, stored(t, dir, Environment{}, name))
	}
	for _, m := range all {
		m.Begin()
	}
	pool := x509.NewCertPool()
	for _, m := range all {
		eventually(t, "a certificate", m.whole)
	}
	text, err := Root(Settings{Storage: dir})
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(text)
	for _, m := range all {
		name := m.scope.Load().list[0]
		c, err := m.get(&tls.ClientHelloInfo{ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A root that cannot sign is not replaced: clients trust it. The remedy is said.
func TestARootThatCannotSign(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"no key":    {func(d string) error { return os.Remove(filepath.Join(d, rootKey)) }, "restore that, or remove both"},
		"half":      {func(d string) error { return os.WriteFile(filepath.Join(d, rootCert), []byte("-----BEGIN"), 0o600) }, "holds no certificate"},
		"other key": {func(d string) error { return copyRootKey(d) }, "does not belong to"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			first := stored(t, dir, Environment{}, "a.example")
			first.Begin()
			eventually(t, "a certificate", first.whole)
			first.Close()
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
			m := stored(t, dir, Environment{}, "b.example")
			m.Begin()
			eventually(t, "the fault", func() bool { err := m.Missing(); return err != nil && strings.Contains(err.Error(), c.want) })
		})
	}
}

func copyRootKey(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	text, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, rootKey), text, 0o600)
}

// An operator who removes a root gets another, and at once certificates that it signed.
func TestANewRootSignsAnew(t *testing.T) {
	dir := t.TempDir()
	first := stored(t, dir, Environment{}, "a.example", "*.dev.example", "::1")
	first.Begin()
	eventually(t, "certificates", first.whole)
	first.Close()
	if err := os.RemoveAll(filepath.Join(dir, "internal")); err != nil {
		t.Fatal(err)
	}
	m := stored(t, dir, Environment{}, "a.example", "*.dev.example", "::1")
	if m.Missing() == nil {
		t.Error("nothing is missing")
	}
	m.Begin()
	eventually(t, "certificates", m.whole)
	text, err := Root(Settings{Storage: dir})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	for _, name := range []string{"a.example", "x.dev.example", "::1"} {
		c, err := m.get(&tls.ClientHelloInfo{ServerName: name})
		if err != nil || c == nil {
			t.Errorf("%s: got %v, %v", name, c, err)
			continue
		}
		if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	again := stored(t, dir, Environment{}, "a.example", "*.dev.example", "::1")
	if again.Missing() != nil {
		t.Errorf("the start after it: %v", again.Missing())
	}
}

// A root that expires while the program runs signs nothing any more: what it signed
// would be renewed again and again, and never be good.
func TestARootThatExpiresSignsNothing(t *testing.T) {
	dir := t.TempDir()
	l := &local{store: newShelf(dir, slog.New(slog.DiscardHandler)), path: dir, log: slog.New(slog.DiscardHandler), life: leafLife}
	root, _, err := l.authority(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	expired := *root
	expired.NotAfter = time.Now().Add(-time.Second)
	l.root = &expired
	again, _, err := l.authority(context.Background())
	if err != nil || !again.NotAfter.After(time.Now()) {
		t.Errorf("it signs with one until %v, %v; want what storage has", again.NotAfter, err)
	}
}
