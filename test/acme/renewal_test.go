package acme

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// short is the validity of certificates that a test sees renewed, in seconds.
const short = 20

// A watch makes a handshake ten times a second, as a client that is new each time.
type watch struct {
	stop   chan struct{}
	ended  chan struct{}
	shakes int
	failed []error
	seen   []*x509.Certificate // each that was served, in order
	at     []time.Time         // when it was first served
}

func (a *authority) watch(s *sidecar, name string) *watch {
	w := &watch{stop: make(chan struct{}), ended: make(chan struct{})}
	go w.run(a, s, name)
	return w
}

func (w *watch) run(a *authority, s *sidecar, name string) {
	defer close(w.ended)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		leaf, _, err := shake(s.addr, a.trusting(name))
		w.shakes++
		if err != nil {
			w.failed = append(w.failed, err)
		} else if n := len(w.seen); n == 0 || w.seen[n-1].SerialNumber.Cmp(leaf.SerialNumber) != 0 {
			w.seen, w.at = append(w.seen, leaf), append(w.at, time.Now())
		}
		select {
		case <-tick.C:
		case <-w.stop:
			return
		}
	}
}

// end ends it. Its fields are the test's then.
func (w *watch) end() {
	close(w.stop)
	<-w.ended
}

// renewing starts a sidecar in this process that has got a certificate for
// name, which is short.
func (a *authority) renewing(t testing.TB, dir, challenge, name string) *sidecar {
	t.Helper()
	s := boot(t, serveEcho(t), a.settings(dir, "domains: ["+name+"], challenges: ["+challenge+"]")+speaking)
	a.leads(s)
	s.ready(t, patience)
	return s
}

var names atomic.Int64

// unused is a name under zone that nothing else in this process has, nor had: when certmagic
// tries a renewal again is in a global of its package, by name.
func unused(zone string) string { return fmt.Sprintf("renewed-%d.%s", names.Add(1), zone) }

// until waits for a time of the wall clock, which the validity of certificates is by.
func until(at time.Time) { <-time.After(time.Until(at)) }

// Clients of every kind go on over the connections that they opened under the first
// certificate, behind its end too, while handshakes get the next one: none fails.
func TestRenewalUnderTraffic(t *testing.T) {
	t.Parallel()
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t, terms{validity: short})
			name := unused("example.test")
			s := a.renewing(t, t.TempDir(), challenge, name)
			talk, w := gather(t, s.addr, name, a.trusting(name)), a.watch(s, name)
			first := a.served(t, s, name)
			until(first.NotAfter.Add(2 * time.Second))
			w.end()
			talk.leave(t)
			for _, err := range w.failed {
				t.Errorf("a handshake failed: %v", err)
			}
			if len(w.seen) < 2 {
				t.Fatalf("%d certificates were served; want a new one", len(w.seen))
			}
			t.Logf("renewed %v before its end; %d handshakes, %d failed, %d orders",
				w.seen[0].NotAfter.Sub(w.at[1]).Round(time.Millisecond), w.shakes, len(w.failed), a.orders.Load())
			if n := s.total(t, "sidecar_tls_renewals_total"); int(n) != len(w.seen)-1 {
				t.Errorf("%v renewals counted; %d were seen", n, len(w.seen)-1)
			}
			t.Log(s.log.line(t, `"msg":"certificate renewed"`, name))
			s.expires(t, name, w.seen[len(w.seen)-1])
		})
	}
}

// expires wants the metric of leaf's end.
func (s *sidecar) expires(t testing.TB, certified string, leaf *x509.Certificate) {
	t.Helper()
	name := fmt.Sprintf("sidecar_tls_certificate_expiry_timestamp_seconds{name=%q}", certified)
	if at, ok := s.metric(t, name); !ok || int64(at) != leaf.NotAfter.Unix() {
		t.Errorf("%s is %v (%v); want %d", name, int64(at), ok, leaf.NotAfter.Unix())
	}
}

// Without the authority the old certificate is served to its end, and the operator is
// told: by a log line and a count at once, by readiness at the end.
func TestAuthorityDownDuringRenewal(t *testing.T) {
	t.Parallel()
	a, name := newAuthority(t, terms{validity: short}), unused("example.test")
	s := a.renewing(t, t.TempDir(), "tls-alpn-01", name)
	a.down(t)
	first := a.served(t, s, name)
	w := a.watch(s, name)
	talk := gather(t, s.addr, name, a.trusting(name))
	told := time.Now()
	s.failed(t, "connection refused")
	t.Logf("told %v before the end", time.Until(first.NotAfter).Round(time.Millisecond))
	if status, text := s.readiness(t); status != http.StatusOK {
		t.Errorf("readiness before the end, %v on: %d %q; want 200", time.Since(told), status, text)
	}
	until(first.NotAfter.Add(-time.Second))
	w.end()
	if len(w.failed) > 0 || len(w.seen) != 1 {
		t.Errorf("%d handshakes failed and %d certificates were served before the end; want 0 and the first alone: %v", len(w.failed), len(w.seen), w.failed)
	}
	t.Logf("%d handshakes, %d failed", w.shakes, len(w.failed))
	until(first.NotAfter.Add(time.Second))
	s.missing(t, name, "expired")
	if _, _, err := shake(s.addr, a.trusting(name)); err == nil || !strings.Contains(err.Error(), "expired") && !strings.Contains(err.Error(), "remote error") {
		t.Errorf("a handshake behind the end: %v; want a refusal of the one end or the other", err)
	}
	talk.leave(t)
}
