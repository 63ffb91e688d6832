package certs

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
)

// A notes is a log that is kept.
type notes struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.Write(b)
}

func (n *notes) lines(part string) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range strings.Lines(n.buf.String()) {
		if strings.Contains(l, part) {
			count++
		}
	}
	return count
}

func (n *notes) log() *slog.Logger { return slog.New(slog.NewTextHandler(n, nil)) }

// stock puts a certificate for names into the storage at dir, as that of the name
// under, and returns the directory of its files.
func stock(t *testing.T, dir, under string, begins, ends time.Time, names ...string) string {
	t.Helper()
	return stockAs(t, dir, under, &x509.Certificate{DNSNames: names, NotBefore: begins, NotAfter: ends})
}

func stockAs(t *testing.T, dir, under string, leaf *x509.Certificate) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf.SerialNumber = big.NewInt(1)
	own := &local{store: newShelf(dir, slog.New(slog.DiscardHandler)), path: dir, log: slog.New(slog.DiscardHandler)}
	root, signer, err := own.authority(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	keyText, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "certificates", "internal", under)
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	for ext, text := range map[string][]byte{".crt": pemOf(der), ".key": keyText, ".json": []byte(`{"sans":["` + under + `"],"issuer_data":null}`)} {
		if err := os.WriteFile(filepath.Join(at, under+ext), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

// stored is mode internal over what is in dir.
func stored(t *testing.T, dir string, e Environment, names ...string) *managed {
	t.Helper()
	return startLocal(t, newShelf(dir, slog.New(slog.DiscardHandler)), dir, e, names...)
}

// helloOf is the hello of a client that certificates of ours suit: of several that do
// not, certmagic takes any.
func helloOf(name string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName: name, SupportedVersions: []uint16{tls.VersionTLS13}, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
		SupportedCurves: []tls.CurveID{tls.CurveP256}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
	}
}

// A certificate that has expired is served until there is another, and counts as
// missing.
func TestAnExpiredCertificateInStorage(t *testing.T) {
	dir := t.TempDir()
	stock(t, dir, "a.example", time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour), "a.example")
	var said notes
	m := stored(t, dir, Environment{Log: said.log()}, "a.example")
	old, err := m.get(helloOf("a.example"))
	if err != nil || old == nil {
		t.Fatalf("before the order: %v, %v; want the old one", old, err)
	}
	if err := m.Missing(); err == nil || !strings.Contains(err.Error(), "a.example: its certificate has expired") {
		t.Errorf("what is missing: %v", err)
	}
	if m.Fresh() {
		t.Error("it is fresh")
	}
	m.Begin()
	eventually(t, "another", m.whole)
	if now, err := m.get(helloOf("a.example")); err != nil || now == nil || now.Leaf.Equal(old.Leaf) || time.Now().After(now.Leaf.NotAfter) {
		t.Errorf("after the order: %v, %v", now, err)
	}
	eventually(t, "freshness", m.Fresh)
	if all := m.Certificates(); len(all) != 1 {
		t.Errorf("%d certificates are in memory; want the new one alone", len(all))
	}
	if said.lines("the stored certificate has expired") != 1 {
		t.Error("it is not said")
	}
}

// Whatever else lies where a certificate should be, another is got in its place, and
// nothing that is there is served.
func TestWhatIsInStorageCannotBeUsed(t *testing.T) {
	soon, late := time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	put := func(ext, text string) func(*testing.T, string) {
		return func(t *testing.T, at string) {
			if err := os.WriteFile(filepath.Join(at, "a.example"+ext), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		names []string
		spoil func(*testing.T, string)
	}{
		"for another name":       {[]string{"b.example"}, nil},
		"for no name":            {nil, nil},
		"an empty certificate":   {[]string{"a.example"}, put(".crt", "")},
		"half a certificate":     {[]string{"a.example"}, put(".crt", "-----BEGIN CERTIFICATE-----\nMIIB")},
		"an empty key":           {[]string{"a.example"}, put(".key", "")},
		"another's key":          {[]string{"a.example"}, func(t *testing.T, at string) { swapKey(t, at) }},
		"empty notes":            {[]string{"a.example"}, put(".json", "")},
		"notes that are nothing": {[]string{"a.example"}, put(".json", "{")},
		"no key": {[]string{"a.example"}, func(t *testing.T, at string) {
			if err := os.Remove(filepath.Join(at, "a.example.key")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			at := stock(t, dir, "a.example", soon, late, c.names...)
			if c.spoil != nil {
				c.spoil(t, at)
			}
			m := stored(t, dir, Environment{}, "a.example")
			if got, err := m.get(&tls.ClientHelloInfo{ServerName: "a.example"}); got != nil || err == nil {
				t.Errorf("before the order it serves %v", got)
			}
			if m.Missing() == nil {
				t.Error("before the order nothing is missing")
			}
			m.Begin()
			eventually(t, "a certificate", m.whole)
			got, err := m.get(&tls.ClientHelloInfo{ServerName: "a.example"})
			if err != nil || got.Leaf.VerifyHostname("a.example") != nil {
				t.Errorf("got %v, %v", got, err)
			}
			if again := stored(t, dir, Environment{}, "a.example"); again.Missing() != nil {
				t.Errorf("the next start: %v", again.Missing())
			}
		})
	}
}

// swapKey puts the key of a certificate of another directory into at.
func swapKey(t *testing.T, at string) {
	other := stock(t, t.TempDir(), "a.example", time.Now(), time.Now(), "a.example")
	text, err := os.ReadFile(filepath.Join(other, "a.example.key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(at, "a.example.key"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What is no file is not read: it might never end. It is said, and nothing is ordered
// that could not be kept.
func TestWhatIsNoFileInStorage(t *testing.T) {
	for name, make := range map[string]func(string) error{
		"a pipe":      func(f string) error { return syscall.Mkfifo(f, 0o600) },
		"a directory": func(f string) error { return os.Mkdir(f, 0o700) },
		"huge": func(f string) error {
			return os.WriteFile(f, bytes.Repeat([]byte("a"), maxFile+1), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			at := stock(t, dir, "a.example", time.Now(), time.Now().Add(time.Hour), "a.example")
			file := filepath.Join(at, "a.example.crt")
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := make(file); err != nil {
				t.Fatal(err)
			}
			var told counted
			m := stored(t, dir, Environment{Failed: told.failed}, "a.example")
			m.Begin()
			eventually(t, "a failure", func() bool { return told.has("storage") })
			eventually(t, "its word", func() bool { err := m.Missing(); return err != nil && strings.Contains(err.Error(), "a.example.crt") })
			if m.Fresh() || told.has("obtain") || told.has("renew") {
				t.Errorf("fresh %v, told of %v; want storage alone", m.Fresh(), told.stages)
			}
			m.Close()
		})
	}
}

// While a certificate is served its files in storage may become anything: once it is
// to be renewed, it is.
func TestAServedCertificateWhoseFilesAreSpoiltIsRenewed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const name = "spoilt.example"
		at := stock(t, dir, name, time.Now(), time.Now().Add(30*24*time.Hour), name)
		b := open(t, dir, internalSettings(name))
		old := b.leaf(name)
		for _, ext := range []string{".json", ".key", ".crt"} {
			if err := os.WriteFile(filepath.Join(at, name+ext), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(19 * 24 * time.Hour)
		if !b.leaf(name).Equal(old) || b.office.orders.Load() != 0 {
			t.Error("it is renewed before its time")
		}
		time.Sleep(24*time.Hour + 3*b.env.Every)
		if b.leaf(name).Equal(old) || !b.Fresh() || b.office.orders.Load() != 1 {
			t.Errorf("the old one goes on, fresh %v, %d orders; want another by 1 order", b.Fresh(), b.office.orders.Load())
		}
	})
}

// Certificates that have expired long ago are cleared away, with their keys.
func TestExpiredCertificatesAreClearedAway(t *testing.T) {
	dir := t.TempDir()
	old := stock(t, dir, "old.example", time.Now().Add(-2*keptFor), time.Now().Add(-keptFor-time.Hour), "old.example")
	late := stock(t, dir, "late.example", time.Now().Add(-keptFor), time.Now().Add(-time.Hour), "late.example")
	good := stock(t, dir, "good.example", time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour), "good.example")
	m := stored(t, dir, Environment{Every: 5 * time.Millisecond}, "good.example")
	m.Begin()
	eventually(t, "clearing", func() bool { _, err := os.Stat(old); return os.IsNotExist(err) })
	for _, at := range []string{late, good} {
		if found, err := os.ReadDir(at); len(found) != 3 || err != nil {
			t.Errorf("%s has %v, %v; want all three", filepath.Base(at), found, err)
		}
	}
	if m.Missing() != nil {
		t.Error(m.Missing())
	}
}

// Storage that does not answer keeps neither the start nor the end for ever.
func TestStorageThatHangs(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{shelf: newShelf(dir, slog.New(slog.DiscardHandler))}
		defer h.hang()()
		var said notes
		start := time.Now()
		m, err := manage(internalSettings("a.example"), Environment{Log: said.log()}.withDefaults(), h, dir)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != loadTime {
			t.Errorf("the start took %v; want %v", took, loadTime)
		}
		m.Begin()
		start = time.Now()
		m.Close()
		if took := time.Since(start); took != 2*closeTime {
			t.Errorf("the end took %v; want %v", took, 2*closeTime)
		}
		if said.lines("does not answer") != 1 {
			t.Error("it is not said")
		}
	})
}

// A hanging is storage that may read nothing for a time.
type hanging struct {
	*shelf
	hold    atomic.Pointer[chan struct{}] // nil: it does not hang now
	reading chan struct{}                 // told of each that hangs; nil: nobody is
}

func (h *hanging) Load(ctx context.Context, key string) ([]byte, error) {
	if c := h.hold.Load(); c != nil {
		select {
		case h.reading <- struct{}{}:
		default:
		}
		<-*c
	}
	return h.shelf.Load(ctx, key)
}

// hang makes it hang until over is called.
func (h *hanging) hang() (over func()) {
	c := make(chan struct{})
	h.hold.Store(&c)
	return sync.OnceFunc(func() {
		h.hold.Store(nil)
		close(c)
	})
}

// While certmagic waits for storage to say which certificates to renew, handshakes get
// theirs, and a reload does not keep them from it.
func TestStorageThatHangsAtARenewalHoldsNoHandshakeUp(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.example", "b.example"} {
		stock(t, dir, name, time.Now().Add(-time.Hour), time.Now().Add(time.Minute), name)
	}
	h := &hanging{shelf: newShelf(dir, slog.New(slog.DiscardHandler)), reading: make(chan struct{}, 1)}
	m, err := manage(internalSettings("a.example", "b.example"), Environment{Log: slog.New(slog.DiscardHandler), Every: 20 * time.Millisecond}.withDefaults(), h, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	over := h.hang()
	defer over()
	<-h.reading // certmagic: nothing of ours reads before Begin
	reloaded := make(chan struct{})
	go func() {
		defer close(reloaded)
		m.adopt(internalSettings("b.example"))
	}()
	served := make(chan error)
	go func() {
		for start := time.Now(); time.Since(start) < 200*time.Millisecond; { // the reload comes in between
			if c, err := m.get(&tls.ClientHelloInfo{ServerName: "b.example"}); c == nil || err != nil {
				served <- errors.New("there is none")
				return
			}
		}
		served <- m.Missing()
	}()
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("handshakes wait for storage")
	}
	over()
	<-reloaded
}
