package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
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

// A faulty is storage that fails to store while full is set.
type faulty struct {
	certmagic.Storage
	full atomic.Bool
}

func (f *faulty) Store(ctx context.Context, key string, value []byte) error {
	if f.full.Load() {
		return syscall.ENOSPC
	}
	return f.Storage.Store(ctx, key, value)
}

// A counted is an Environment with what it was told.
type counted struct {
	mu     sync.Mutex
	stages []string
}

func (c *counted) failed(stage string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stages = append(c.stages, stage)
}

func (c *counted) has(stage string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.stages {
		if s == stage {
			return true
		}
	}
	return false
}

func internalSettings(names ...string) Settings {
	s := Default()
	s.Mode, s.Domains = modeInternal, names
	return s
}

// local starts mode internal over a directory.
func startLocal(t *testing.T, storage certmagic.Storage, dir string, e Environment, names ...string) *managed {
	t.Helper()
	if e.Log == nil {
		e.Log = slog.New(slog.DiscardHandler)
	}
	m, err := manage(internalSettings(names...), e.withDefaults(), storage, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	late := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal(what + ": not in 20s")
		}
	}
}

func (m *managed) whole() bool { return m.Missing() == nil }

func TestLocalAuthority(t *testing.T) {
	dir := t.TempDir()
	m := startLocal(t, &certmagic.FileStorage{Path: dir}, dir, Environment{})
	if err := m.Missing(); err == nil || !strings.Contains(err.Error(), "localhost: no certificate yet") {
		t.Errorf("before Begin %v is missing; want all", err)
	}
	m.Begin()
	eventually(t, "certificates", m.whole)
	text, err := Root(Settings{Storage: dir})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	for sni, name := range map[string]string{"localhost": "localhost", "LocalHost": "localhost", "127.0.0.1": "127.0.0.1", "": "localhost"} {
		c, err := m.get(&tls.ClientHelloInfo{ServerName: sni})
		if err != nil || c == nil {
			t.Errorf("%q: got %v, %v", sni, c, err)
			continue
		}
		if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool}); err != nil {
			t.Errorf("%q: %v", sni, err)
		}
	}
	for _, sni := range []string{"other.example", "x.localhost", "*.localhost", strings.Repeat("a", 300), "a..b", "ü"} {
		if c, err := m.get(&tls.ClientHelloInfo{ServerName: sni}); c != nil || err != nil {
			t.Errorf("%q: got %v, %v; want neither, for the alert unrecognized_name", sni, c, err)
		}
	}
	for name, mode := range map[string]os.FileMode{"internal": 0o700, rootKey: 0o600, "certificates/internal/localhost/localhost.key": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want %v", name, info, err, mode)
		}
	}
}

// What storage has is served at once, and the root is made once.
func TestASecondStartServesWhatIsStored(t *testing.T) {
	dir := t.TempDir()
	first := startLocal(t, &certmagic.FileStorage{Path: dir}, dir, Environment{}, "a.example")
	first.Begin()
	eventually(t, "a certificate", first.whole)
	one, _ := first.get(&tls.ClientHelloInfo{ServerName: "a.example"})
	first.Close()
	second := startLocal(t, &certmagic.FileStorage{Path: dir}, dir, Environment{}, "a.example")
	two, err := second.get(&tls.ClientHelloInfo{ServerName: "a.example"})
	if err != nil || two == nil || !two.Leaf.Equal(one.Leaf) {
		t.Errorf("got %v; want the stored certificate, without Begin", err)
	}
}

func TestAFullDiskIsSaidAndTriedAgain(t *testing.T) {
	dir := t.TempDir()
	f := &faulty{Storage: &certmagic.FileStorage{Path: dir}}
	f.full.Store(true)
	var told counted
	m := startLocal(t, f, dir, Environment{Failed: told.failed, Every: 10 * time.Millisecond}, "a.example")
	m.Begin()
	eventually(t, "a failure", func() bool { return told.has("storage") })
	eventually(t, "its word", func() bool {
		err := m.Missing()
		return err != nil && strings.Contains(err.Error(), "no space left on device")
	})
	if m.Fresh() {
		t.Error("it is fresh")
	}
	f.full.Store(false)
	eventually(t, "a certificate once there is room", m.whole)
}

func TestReloadChangesTheNames(t *testing.T) {
	dir := t.TempDir()
	m := startLocal(t, &certmagic.FileStorage{Path: dir}, dir, Environment{}, "a.example", "b.example")
	m.Begin()
	eventually(t, "certificates", m.whole)
	use, err := m.Prepare(internalSettings("b.example", "c.example"))
	if err != nil {
		t.Fatal(err)
	}
	use()
	eventually(t, "the new name's", m.whole)
	for name, want := range map[string]bool{"a.example": false, "b.example": true, "c.example": true} {
		if c, err := m.get(&tls.ClientHelloInfo{ServerName: name}); (c != nil) != want || err != nil || m.Serves(name) != want {
			t.Errorf("%s: got %v, %v, serves %v; want served %v", name, c, err, m.Serves(name), want)
		}
	}
}

// What storage shows of a name that a reload has taken out meanwhile is not kept.
func TestANameThatIsDroppedWhileItIsRead(t *testing.T) {
	dir := t.TempDir()
	stock(t, dir, "a.example", time.Now(), time.Now().Add(week), "a.example")
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{shelf: newShelf(dir, slog.New(slog.DiscardHandler))}
		over := h.hang()
		defer over()
		m := startLocal(t, h, dir, Environment{}, "a.example")
		defer m.Close() // in the bubble
		m.adopt(internalSettings("b.example"))
		over()
		synctest.Wait()
		if _, found := m.hot.exact("a.example"); found {
			t.Error("it is in memory")
		}
		if n := len(m.cache.AllMatchingCertificates("a.example")); n > 0 {
			t.Errorf("certmagic has %d for it", n)
		}
	})
}

// Nor what it shows of a name on demand that is allowed no longer.
func TestANameOnDemandThatIsDroppedWhileItIsRead(t *testing.T) {
	dir := t.TempDir()
	stock(t, dir, "a.demand.example", time.Now(), time.Now().Add(week), "a.demand.example")
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{shelf: newShelf(dir, slog.New(slog.DiscardHandler))}
		m, err := manage(onDemand("*.demand.example"), Environment{Log: slog.New(slog.DiscardHandler)}.withDefaults(), h, dir)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close() // in the bubble
		over := h.hang()
		defer over()
		if _, err := m.get(helloOf("a.demand.example")); err == nil {
			t.Error("it is served, though storage hangs")
		}
		m.adopt(onDemand("*.other.example"))
		over()
		synctest.Wait()
		if _, found := m.hot.exact("a.demand.example"); found || m.asked.Len() > 0 {
			t.Errorf("in memory %v, and %d names are remembered", found, m.asked.Len())
		}
		if n := len(m.cache.AllMatchingCertificates("a.demand.example")); n > 0 {
			t.Errorf("certmagic has %d for it", n)
		}
	})
}

// Reloads that come behind the end change nothing that matters.
func TestReloadsBehindTheEnd(t *testing.T) {
	dir := t.TempDir()
	m := startLocal(t, &certmagic.FileStorage{Path: dir}, dir, Environment{}, "a.example")
	m.Close()
	for _, name := range []string{"b.example", "c.example"} {
		m.adopt(internalSettings(name))
		if m.Serves("a.example") || !m.Serves(name) || m.Missing() == nil {
			t.Errorf("after the reload for %s: serves a.example %v, missing %v", name, m.Serves("a.example"), m.Missing())
		}
	}
}

func TestRootBeforeThereIsOne(t *testing.T) {
	dir := t.TempDir()
	if _, err := Root(Settings{Storage: dir}); err == nil || !strings.Contains(err.Error(), "there is no local authority yet") {
		t.Errorf("got %v", err)
	}
	if found, err := os.ReadDir(dir); err != nil || len(found) != 0 {
		t.Errorf("it made %v, %v", found, err)
	}
}

func TestManyWhoWantTheSameAreOneCall(t *testing.T) {
	f := flight[error]{most: 1}
	release, calls := make(chan struct{}), 0
	want := errors.New("x")
	work := func() error { calls++; <-release; return want }
	first := f.join("a", work)
	if f.join("a", work) != first {
		t.Error("a second call for the same name")
	}
	if f.join("b", work) != nil {
		t.Error("one more than may be")
	}
	close(release)
	if got, ended := first.wait(context.Background()); !ended || got != want {
		t.Errorf("got %v, %v", got, ended)
	}
	f.shut()
	if calls != 1 || f.join("a", work) != nil {
		t.Errorf("%d calls; want 1, and none after shut", calls)
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"a.example", "*.a", "", "a..b", "1.2.3.4", "xn--a", "-a", strings.Repeat("a.", 130), "A.B", "a b", "../x", "a_b.c"} {
		f.Add(s)
	}
	set := newNameSet([]string{"*.a.example", "b.example"})
	f.Fuzz(func(t *testing.T, s string) {
		name := normal(s)
		if checkName(name) != "" {
			return
		}
		if len(name) > maxName || strings.ContainsAny(name, "*/\\ :\x00") || strings.Contains(name, "..") || certmagic.StorageKeys.Safe(name) != name {
			t.Errorf("%q passes as a name", name)
		}
		if set.has(name) && name != "b.example" && !strings.HasSuffix(name, ".a.example") {
			t.Errorf("%q is in the set", name)
		}
	})
}
