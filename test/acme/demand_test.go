package acme

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// onDemand starts a sidecar that gets certificates at handshakes, by this permission.
func (a *authority) onDemand(t testing.TB, permission string) *sidecar {
	t.Helper()
	s := launch(t, serveEcho(t), a.settings(t.TempDir(), "on_demand: {"+permission+"}")+speaking)
	a.leads(s)
	return s
}

func TestOnDemand(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, terms{})
	s := a.onDemand(t, `allow: ["*.allowed.test"]`)
	s.ready(t, patience) // no name is owed
	_, first, err := shake(s.addr, a.trusting("x.allowed.test"))
	if err != nil {
		t.Fatal(err)
	}
	_, second, err := shake(s.addr, a.trusting("x.allowed.test"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the first handshake took %v, the second %v, with %d orders", first.Round(time.Millisecond), second.Round(time.Millisecond), a.orders.Load())
	s.used(t, a, "x.allowed.test")
	s.refuses(t, a, "evil.test")
	s.refuses(t, a, "allowed.test")
	s.refuses(t, a, "deep.x.allowed.test")
	if n := a.orders.Load(); n != 1 {
		t.Errorf("%d orders; want 1", n)
	}
}

// refuses wants the alert for a name that is nobody's here, without an order, and says
// how long it took.
func (s *sidecar) refuses(t testing.TB, a *authority, name string) time.Duration {
	t.Helper()
	return s.alerts(t, a, name, "unrecognized name")
}

// alerts wants that alert for a handshake by name, without an order.
func (s *sidecar) alerts(t testing.TB, a *authority, name, alert string) time.Duration {
	t.Helper()
	orders := a.asked.Load()
	c := a.trusting(name)
	c.InsecureSkipVerify = true // whatever would be served is wrong
	_, took, err := shake(s.addr, c)
	if err == nil || !strings.HasPrefix(err.Error(), "remote error: tls: "+alert) {
		t.Errorf("the handshake for %q: %v; want the alert %q", name, err, alert)
	}
	if n := a.asked.Load() - orders; n > 0 {
		t.Errorf("%d orders for %q; want none", n, name)
	}
	return took
}

// Many who come at once for a name that is new wait for one order.
func TestOnDemandHerd(t *testing.T) {
	t.Parallel()
	const many = 20
	a := newAuthority(t, terms{})
	s := a.onDemand(t, `allow: ["*.allowed.test"]`)
	ended := make(chan error, many)
	start := time.Now()
	for range many {
		go func() {
			_, _, err := shake(s.addr, a.trusting("herd.allowed.test"))
			ended <- err
		}()
	}
	for range many {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d handshakes in %v, %d orders", many, time.Since(start).Round(time.Millisecond), a.orders.Load())
	if n := a.orders.Load(); n != 1 {
		t.Errorf("%d orders; want 1", n)
	}
}

// An oracle answers whether a name is allowed.
type oracle struct {
	url   string
	asked atomic.Int64
}

func serveOracle(t testing.TB, answer func(w http.ResponseWriter, r *http.Request, domain string)) *oracle {
	o := new(oracle)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.asked.Add(1)
		answer(w, r, r.URL.Query().Get("domain"))
	}))
	t.Cleanup(s.Close)
	o.url = s.URL + "/allowed"
	return o
}

// Whom the operator's own program allows: by its status alone, once for each name.
func TestOnDemandAsks(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, terms{})
	o := serveOracle(t, func(w http.ResponseWriter, r *http.Request, domain string) {
		switch domain {
		case "yes.example.test":
			w.WriteHeader(http.StatusNoContent)
		case "moved.example.test":
			http.Redirect(w, r, "/allowed?domain=yes.example.test", http.StatusFound)
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	})
	s := a.onDemand(t, fmt.Sprintf("ask: %q", o.url))
	a.served(t, s, "yes.example.test")
	a.served(t, s, "yes.example.test")
	if n := o.asked.Load(); n != 1 {
		t.Errorf("asked %d times for a name that was allowed; want once", n)
	}
	for range 3 {
		s.refuses(t, a, "no.example.test")
	}
	if n := o.asked.Load(); n != 2 {
		t.Errorf("asked %d times after 3 handshakes for a name that was refused; want 1 more", n)
	}
	s.refuses(t, a, "moved.example.test")
	t.Logf("asked %d times, %d orders", o.asked.Load(), a.orders.Load())
}

// The list is looked at first, and both must allow.
func TestOnDemandAsksOnlyForTheListed(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, terms{})
	o := serveOracle(t, func(w http.ResponseWriter, _ *http.Request, domain string) {
		if domain != "good.allowed.test" {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	s := a.onDemand(t, fmt.Sprintf(`allow: ["*.allowed.test"], ask: %q`, o.url))
	s.refuses(t, a, "good.example.test")
	if n := o.asked.Load(); n != 0 {
		t.Errorf("asked %d times for a name that is not listed", n)
	}
	s.refuses(t, a, "bad.allowed.test")
	a.served(t, s, "good.allowed.test")
}

// Who cannot be asked allows nothing, and keeps a handshake for a second at most.
func TestOnDemandAsksInVain(t *testing.T) {
	t.Parallel()
	slow := serveOracle(t, func(_ http.ResponseWriter, r *http.Request, _ string) {
		select {
		case <-r.Context().Done():
		case <-time.After(patience):
		}
	})
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, url := range map[string]string{"slow": slow.url, "dead": gone.URL + "/allowed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t, terms{})
			s := a.onDemand(t, fmt.Sprintf("ask: %q", url))
			took := s.alerts(t, a, "x.example.test", "") // the fault is here, so whichever it is
			t.Logf("refused after %v", took.Round(time.Millisecond))
			if took > 3*time.Second {
				t.Errorf("refused after %v; want about a second at most", took)
			}
		})
	}
}

// Whoever would let every stranger make it order is told so before anything is bound.
func TestOnDemandNeedsPermission(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, terms{})
	file := write(t, "sidecar.yaml", yaml("127.0.0.1:1", a.settings(t.TempDir(), "on_demand: {}")))
	for _, command := range []string{"check", "run"} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, program(t), command, "--config", file)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(string(out), "on_demand") {
			t.Errorf("sidecar %s: exit code %d, %q; want 2 and a word on on_demand", command, code, out)
		}
		t.Logf("%s", out)
	}
}

// Strangers' names cost no order, without on_demand too.
func TestUnknownNames(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, terms{})
	s := launch(t, serveEcho(t), a.settings(t.TempDir(), "domains: [a.example.test]"))
	a.leads(s)
	s.ready(t, patience)
	for _, name := range []string{"b.example.test", "x.a.example.test", "example.test", strings.Repeat("a.", 100) + "test"} {
		s.refuses(t, a, name)
	}
	c := a.trusting("127.0.0.1") // an address is no server name: none is sent
	c.InsecureSkipVerify = true
	if _, _, err := shake(s.addr, c); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("the handshake without a name: %v; want the alert unrecognized_name", err)
	}
	if n := a.orders.Load(); n != 1 {
		t.Errorf("%d orders; want 1", n)
	}
}
