package acme

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// relaying is how many goroutines relay a raw connection in this process. Only the test
// below has any sidecar relay so.
func relaying() int {
	b := make([]byte, 16<<20)
	return strings.Count(string(b[:runtime.Stack(b, true)]), "created by sidecar/proxy.(*relay).start")
}

// WebSockets over an ordered certificate are relayed on loops, and a renewal takes them
// neither off these nor off their connections.
func TestRenewalLeavesLoopsAlone(t *testing.T) {
	t.Parallel()
	const n = 10
	name := unused("example.test")
	a := newAuthority(t, terms{validity: short})
	s := a.renewing(t, t.TempDir(), "http-01", name)
	first := a.served(t, s, name)
	var lines []line
	for range n {
		l, err := openSocket(&route{addr: s.addr, name: name, tls: a.trusting(name)})
		if err != nil {
			t.Fatal(err)
		}
		defer l.close()
		lines = append(lines, l)
	}
	echo := func(when string) {
		t.Helper()
		for _, l := range lines {
			if err := l.echo(when); err != nil || l.carriers() != 1 {
				t.Errorf("%s: %v, over connection %d", when, err, l.carriers())
			}
		}
		if got := relaying(); got != 0 {
			t.Errorf("%s: %d goroutines relay; want loops to", when, got)
		}
	}
	echo("at first")
	until(first.NotAfter.Add(time.Second))
	if a.served(t, s, name).Equal(first) {
		t.Fatal("the certificate was not renewed")
	}
	echo("behind the end of their certificate")

	// Where goroutines do relay, they are seen.
	plain := boot(t, serveEcho(t), a.settings(t.TempDir(), "domains: ["+name+"], loop: false")+speaking)
	a.leads(plain)
	plain.ready(t, patience)
	l, err := openSocket(&route{addr: plain.addr, name: name, tls: a.trusting(name)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if err := l.echo("by goroutines"); err != nil || relaying() != 2 {
		t.Errorf("by goroutines: %v, %d of them; want 2", err, relaying())
	}
}
