package acme

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A certificate that expired while the program was down: readiness says so, the
// operator is told, and the next one comes as soon as the authority gives it.
func TestExpiredCertificateInStorage(t *testing.T) {
	t.Parallel()
	a, dir := newAuthority(t, terms{validity: 6}), t.TempDir()
	settings := a.settings(dir, "domains: [a.example.test]")
	s := launch(t, serveEcho(t), settings)
	a.leads(s)
	s.ready(t, patience)
	first := a.served(t, s, "a.example.test")
	s.drains(t)
	a.down(t)
	until(first.NotAfter.Add(2 * time.Second))
	s = launch(t, serveEcho(t), settings)
	a.leads(s)
	s.missing(t, "a.example.test", "its certificate has expired", "connection refused")
	t.Log(s.log.line(t, `"level":"WARN"`, "the stored certificate has expired"))
	if n, ok := s.metric(t, "sidecar_tls_certificate_fresh"); !ok || n != 0 {
		t.Errorf("sidecar_tls_certificate_fresh is %v, %v; want 0", n, ok)
	}
	a.up(t)
	back := time.Now()
	s.ready(t, patience)
	t.Logf("ready %v after the authority was back", time.Since(back).Round(time.Millisecond))
	if now := a.served(t, s, "a.example.test"); now.Equal(first) {
		t.Error("the old one is served")
	}
}

// An account's files that are not whole are no end of all orders.
func TestSpoiltAccount(t *testing.T) {
	t.Parallel()
	for _, ext := range []string{".json", ".key"} {
		t.Run(ext, func(t *testing.T) {
			t.Parallel()
			a, dir := newAuthority(t, terms{}), t.TempDir()
			s := launch(t, serveEcho(t), a.settings(dir, "domains: [a.example.test]"))
			a.leads(s)
			s.ready(t, patience)
			s.drains(t)
			files, err := filepath.Glob(filepath.Join(dir, "acme", "*", "users", "*", "*"+ext))
			if err != nil || len(files) != 1 {
				t.Fatalf("the account's files are %q, %v", files, err)
			}
			if err := os.WriteFile(files[0], nil, 0o600); err != nil {
				t.Fatal(err)
			}
			s = launch(t, serveEcho(t), a.settings(dir, "domains: [a.example.test, b.example.test]"))
			a.leads(s)
			t.Logf("ready after %v", s.ready(t, patience).Round(time.Millisecond))
			t.Log(s.log.line(t, `"level":"WARN"`, "the account with the authority cannot be read"))
		})
	}
}

// A certificate on demand is renewed by the handshakes that get it: none fails.
func TestRenewalOnDemand(t *testing.T) {
	t.Parallel()
	a, name := newAuthority(t, terms{validity: short}), unused("demand.test")
	s := boot(t, serveEcho(t), a.settings(t.TempDir(), `on_demand: {allow: ["*.demand.test"]}`))
	a.leads(s)
	first := a.served(t, s, name)
	w := a.watch(s, name)
	until(first.NotAfter.Add(time.Second))
	w.end()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for start := time.Now(); len(w.seen) < int(a.orders.Load()) && time.Since(start) < patience; <-tick.C { // one may be under way
		if leaf := a.served(t, s, name); !leaf.Equal(w.seen[len(w.seen)-1]) {
			w.seen = append(w.seen, leaf)
		}
	}
	for _, err := range w.failed {
		t.Errorf("a handshake failed: %v", err)
	}
	t.Logf("%d handshakes, %d failed, %d certificates, %d orders", w.shakes, len(w.failed), len(w.seen), a.orders.Load())
	if len(w.seen) < 2 || int(a.orders.Load()) != len(w.seen) {
		t.Errorf("%d certificates by %d orders were served; want a new one, and one order each", len(w.seen), a.orders.Load())
	}
	s.expires(t, name, w.seen[len(w.seen)-1])
}

// An authority that is too busy at a renewal: the old certificate goes on, one is told,
// and it is not asked again at once.
func TestAuthorityBusyDuringRenewal(t *testing.T) {
	t.Parallel()
	a, name := newAuthority(t, terms{validity: short}), unused("example.test")
	s := a.renewing(t, t.TempDir(), "http-01", name)
	first, asked := a.served(t, s, name), a.asked.Load()
	a.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != newOrder {
			return false
		}
		w.Header().Set("Retry-After", "1")
		problem(w, http.StatusServiceUnavailable, "rateLimited", "too busy")
		return true
	})
	t.Log(s.log.line(t, "could not renew a certificate", "too busy"))
	until(first.NotAfter.Add(-time.Second))
	if !a.served(t, s, name).Equal(first) {
		t.Error("another certificate is served")
	}
	if n := a.asked.Load() - asked; n > 6 {
		t.Errorf("asked for %d orders meanwhile; want few", n)
	}
	if n := len(s.log.lines("could not renew a certificate")); n != 1 {
		t.Errorf("it is said %d times; want once", n)
	}
	if status, text := s.readiness(t); status != http.StatusOK || strings.Contains(text, name) {
		t.Errorf("readiness before the end: %d %q; want 200", status, text)
	}
}
