package acme

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Three programs with one storage need one order, whichever of them the authority
// reaches to check it.
func TestSharedStorage(t *testing.T) {
	t.Parallel()
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel()
			a, upstream := newAuthority(t, terms{}), serveEcho(t)
			settings := a.settings(t.TempDir(), "domains: [a.example.test], challenges: ["+challenge+"]")
			ordered, release := a.holdOrders(t) // until all are there: each connection of the authority's goes to the next one
			var all []*sidecar
			for range 3 {
				all = append(all, launch(t, upstream, settings))
			}
			a.leads(all...)
			await(t, ordered)
			release()
			start := time.Now()
			for _, s := range all {
				s.ready(t, patience)
			}
			t.Logf("all are ready after %v, with %d orders", time.Since(start).Round(time.Millisecond), a.orders.Load())
			serial := a.served(t, all[0], "a.example.test").SerialNumber
			for _, s := range all[1:] {
				if other := a.served(t, s, "a.example.test").SerialNumber; other.Cmp(serial) != 0 {
					t.Errorf("certificates %v and %v are served; want one", serial, other)
				}
			}
			if n := a.orders.Load(); n != 1 {
				t.Errorf("%d orders; want 1", n)
			}
		})
	}
}

// What was killed in the middle of an order leaves its lock, which the next start waits
// for, and not for ever.
func TestLockOfAKilledProgram(t *testing.T) {
	t.Parallel()
	a, dir := newAuthority(t, terms{}), t.TempDir()
	ordered, release := a.holdOrders(t)
	settings := a.settings(dir, "domains: [a.example.test]")
	s := launch(t, serveEcho(t), settings)
	await(t, ordered)
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.exited
	locks, err := filepath.Glob(filepath.Join(dir, "locks", "*a.example.test*"))
	if err != nil || len(locks) != 1 {
		t.Fatalf("the locks left are %q, %v; want one", locks, err)
	}
	release()
	start := time.Now()
	s = launch(t, serveEcho(t), settings)
	a.leads(s)
	listening := time.Since(start)
	s.ready(t, patience)
	t.Logf("listening %v after the start, ready after %v", listening.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
	a.served(t, s, "a.example.test")
	if _, err := os.Stat(locks[0]); !os.IsNotExist(err) {
		t.Errorf("the lock after the order: %v; want none", err)
	}
	t.Log(s.log.line(t, `"level":"INFO"`, "removing a lock that somebody left"))
	for l := range strings.Lines(s.log.String()) {
		if !strings.HasPrefix(l, "{") {
			t.Errorf("printed past the log: %q", l)
		}
	}
}
