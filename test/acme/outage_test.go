package acme

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"sidecar/test/faultlink"
)

// Without the authority the program starts, says what is missing, and gets it once the
// authority is there.
func TestAuthorityDownAtTheStart(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, terms{})
	a.down(t)
	start := time.Now()
	s := a.wants(t, "")
	t.Logf("listening after %v", time.Since(start).Round(time.Millisecond))
	s.missing(t, "a.example.test", "connection refused")
	s.failed(t, "connection refused")
	if status, location := redirected(t, s.plain, "a.example.test", "/"); status != http.StatusMovedPermanently {
		t.Errorf("the plain listener: status %d, to %q; want a redirect", status, location)
	}
	t.Logf("a handshake is refused after %v", s.alerts(t, a, "a.example.test", "internal error").Round(time.Millisecond))
	a.up(t)
	back := time.Now()
	s.ready(t, 100*time.Second)
	t.Logf("ready %v after the authority came back", time.Since(back).Round(time.Second))
	a.served(t, s, "a.example.test")
}

// An authority that takes the connection and is silent then.
func TestAuthorityHangs(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, terms{})
	a.link.Set(faultlink.Both, faultlink.Fault{Blackhole: true})
	start := time.Now()
	s := a.wants(t, "")
	t.Logf("listening after %v", time.Since(start).Round(time.Millisecond))
	s.missing(t, "a.example.test")
	t.Logf("a handshake is refused after %v", s.alerts(t, a, "a.example.test", "internal error").Round(time.Millisecond))
	s.drains(t)
}

// drains wants an end in order, within the drain's second and one more.
func (s *sidecar) drains(t testing.TB) {
	t.Helper()
	took := s.stop(t)
	t.Logf("ended %v after it was told", took.Round(time.Millisecond))
	if code := s.cmd.ProcessState.ExitCode(); code != 0 || took > 3*time.Second {
		t.Errorf("ended after %v with exit code %d; want two seconds at most, and 0", took, code)
	}
}

// What was stored is served at once, whether the authority is there or not.
func TestAuthorityDownWithAStoredCertificate(t *testing.T) {
	t.Parallel()
	a, dir := newAuthority(t, terms{}), t.TempDir()
	settings := a.settings(dir, "domains: [a.example.test]")
	s := launch(t, serveEcho(t), settings)
	a.leads(s)
	s.ready(t, patience)
	first := a.served(t, s, "a.example.test")
	s.drains(t)
	a.down(t)
	calls := a.calls.Load()
	start := time.Now()
	s = launch(t, serveEcho(t), settings)
	s.ready(t, patience)
	t.Logf("ready %v after the start, the authority down", time.Since(start).Round(time.Millisecond))
	if again := a.served(t, s, "a.example.test"); again.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Error("another certificate is served")
	}
	if n := a.calls.Load() - calls; n > 0 {
		t.Errorf("%d requests reached an authority that is down", n)
	}
}

// A drain does not wait for an order that is under way, and leaves no lock behind that
// the next start would wait for.
func TestDrainWithAnOrderUnderWay(t *testing.T) {
	t.Parallel()
	a, dir := newAuthority(t, terms{}), t.TempDir()
	ordered, release := a.holdOrders(t)
	settings := a.settings(dir, "domains: [a.example.test]")
	s := launch(t, serveEcho(t), settings)
	a.leads(s)
	await(t, ordered)
	s.drains(t)
	release()
	s = launch(t, serveEcho(t), settings)
	a.leads(s)
	took := s.ready(t, patience)
	t.Logf("the next start is ready after %v", took.Round(time.Millisecond))
	if took > 8*time.Second {
		t.Errorf("the next start is ready after %v: it waited for the lock of the first", took)
	}
}

// holdOrders lets no order through until release is called, and tells the first. Who
// goes away meanwhile has ordered nothing.
func (a *authority) holdOrders(t testing.TB) (ordered <-chan struct{}, release func()) {
	first, over := make(chan struct{}, 1), make(chan struct{})
	release = sync.OnceFunc(func() { close(over) })
	t.Cleanup(release)
	a.fail(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != newOrder {
			return false
		}
		select {
		case first <- struct{}{}:
		default:
		}
		select {
		case <-r.Context().Done():
		case <-over:
		}
		return r.Context().Err() != nil
	})
	return first, release
}

func await(t testing.TB, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("nothing within %v", patience)
	}
}
