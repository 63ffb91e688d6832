package acme

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// wants starts a sidecar that wants a certificate for a.example.test.
func (a *authority) wants(t testing.TB, more string) *sidecar {
	t.Helper()
	s := launch(t, serveEcho(t), a.settings(t.TempDir(), "domains: [a.example.test]"+more))
	a.leads(s)
	return s
}

// missing waits until readiness names the certificate that is missing, and why. Health
// is another matter: a restart would help nobody.
func (s *sidecar) missing(t testing.TB, name string, why ...string) {
	t.Helper()
	start := time.Now()
	var status int
	var text string
	if !eventually(patience, func() bool {
		status, text = s.readiness(t)
		if status != http.StatusServiceUnavailable || !strings.Contains(text, name) {
			return false
		}
		for _, part := range why {
			if !strings.Contains(text, part) {
				return false
			}
		}
		return true
	}) {
		t.Fatalf("readiness is %d %q; want 503 with %q and %q", status, text, name, why)
	}
	t.Logf("after %v readiness says %q", time.Since(start).Round(time.Millisecond), text)
	if status, text := fetch(t, "http://"+s.ops+"/livez"); status != http.StatusOK {
		t.Errorf("health is %d %q; want 200", status, text)
	}
}

// failed wants the failure counted, and told to the operator.
func (s *sidecar) failed(t testing.TB, why string) {
	t.Helper()
	t.Log(s.log.line(t, `"level":"WARN"`, "could not", why))
	if n := s.total(t, "sidecar_tls_failures_total"); n < 1 {
		t.Errorf("%v failures counted; want some", n)
	}
}

const externalKey = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"

// An authority that wants to know its customers.
func TestExternalAccount(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, more, why string }{
		{"absent", "", "externalAccountRequired"},
		{"wrong", fmt.Sprintf(", eab: {key_id: kid-1, mac: %q}", strings.Repeat("A", 64)), "unauthorized"},
		{"right", fmt.Sprintf(", eab: {key_id: kid-1, mac: %q}", externalKey), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t, terms{accounts: map[string]string{"kid-1": externalKey}})
			s := a.wants(t, c.more)
			if c.why == "" {
				t.Logf("ready after %v", s.ready(t, patience).Round(time.Millisecond))
				s.keepsSecret(t, externalKey)
				return
			}
			s.missing(t, "a.example.test", c.why)
			s.keepsSecret(t, strings.Repeat("A", 64))
			s.failed(t, c.why)
			if n := a.asked.Load(); n > 0 {
				t.Errorf("%d orders without an account", n)
			}
		})
	}
}

// keepsSecret wants no word of it in the log, which has all levels, and the metrics.
func (s *sidecar) keepsSecret(t testing.TB, secret string) {
	t.Helper()
	_, metrics := fetch(t, "http://"+s.ops+"/metrics")
	for where, text := range map[string]string{"log": s.log.String(), "metrics": metrics} {
		if strings.Contains(text, secret) || strings.Contains(text, "PRIVATE KEY") {
			t.Errorf("a secret is in the %s", where)
		}
	}
}

// A name that leads elsewhere.
func TestWrongDNS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, terms{})
	a.zone.move("a.example.test", "127.0.0.9")
	s := a.wants(t, "")
	s.missing(t, "a.example.test", "127.0.0.9")
	s.failed(t, "127.0.0.9")
}

// An authority of a company, whose own certificate nobody knows, or whom ca_roots names.
func TestUnknownAuthority(t *testing.T) {
	t.Parallel()
	t.Run("without ca_roots", func(t *testing.T) {
		t.Parallel()
		a := newAuthority(t, terms{})
		settings := strings.Replace(a.settings(t.TempDir(), "domains: [a.example.test]"), fmt.Sprintf("ca_roots: %q, ", a.roots), "", 1)
		s := launch(t, serveEcho(t), settings)
		a.leads(s)
		s.missing(t, "a.example.test", "certificate signed by unknown authority")
		s.failed(t, "certificate signed by unknown authority")
		if n := a.calls.Load(); n > 0 {
			t.Errorf("%d requests went to an authority that is not trusted", n)
		}
	})
	t.Run("with ca_roots", func(t *testing.T) {
		t.Parallel()
		a := newAuthority(t, terms{})
		t.Logf("ready after %v", a.wants(t, "").ready(t, patience).Round(time.Millisecond))
	})
}

// Who is told to come later does not come at once.
func TestRateLimited(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, terms{})
	a.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != newOrder {
			return false
		}
		w.Header().Set("Retry-After", "3600")
		problem(w, http.StatusTooManyRequests, "rateLimited", "too many certificates already issued")
		return true
	})
	s := a.wants(t, "")
	s.missing(t, "a.example.test", "too many certificates already issued")
	s.failed(t, "too many certificates already issued")
	const watched = 10 * time.Second
	if eventually(watched, func() bool { return a.asked.Load() > 1 }) {
		t.Errorf("asked %d times within %v; want once", a.asked.Load(), watched)
	}
	for range 20 { // nor do handshakes make it ask
		s.alerts(t, a, "a.example.test", "internal error")
	}
	t.Logf("asked %d times for an order, and made %d requests, within %v and 20 handshakes", a.asked.Load(), a.calls.Load(), watched)
}
