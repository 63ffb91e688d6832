package certs

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// ours are the stacks of goroutines of this package's or of certmagic's, but for those
// that were there before.
func ours(before map[string]bool) map[string]bool {
	b := make([]byte, 4<<20)
	b = b[:runtime.Stack(b, true)]
	found := map[string]bool{}
	for i, stack := range strings.Split(string(b), "\n\n") {
		if i == 0 || !strings.Contains(stack, "sidecar/certs.") && !strings.Contains(stack, "certmagic.") && !strings.Contains(stack, "net/http.(*Transport)") {
			continue
		}
		id, _, _ := strings.Cut(stack, " [")
		// certmagic keeps one for each authority and account for ever.
		if !before[id] && !strings.Contains(stack, "RingBufferRateLimiter") && !strings.Contains(stack, "testing.tRunner") {
			found[stack] = true
		}
	}
	return found
}

func running() map[string]bool {
	ids := map[string]bool{}
	for stack := range ours(nil) {
		id, _, _ := strings.Cut(stack, " [")
		ids[id] = true
	}
	return ids
}

// A silent is an authority that answers nothing, and tells who asks.
func silent(t *testing.T) (url, roots string, asked chan struct{}) {
	t.Helper()
	asked = make(chan struct{}, 64)
	over := make(chan struct{})
	s := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-over:
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(over) })
	roots = filepath.Join(t.TempDir(), "roots.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(roots, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return s.URL, roots, asked
}

// Nothing goes on after Close, with orders under way of both kinds, an asker that is
// slow, handshakes that wait and a reload: neither a goroutine nor a lock.
func TestCloseEndsEverything(t *testing.T) {
	before := running()
	url, roots, asked := silent(t)
	oracle := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("domain") == "slow.example" {
			<-r.Context().Done()
		}
	}))
	defer oracle.Close()
	s := acmeSettings(func(s *Settings) {
		s.Storage, s.CA, s.CARoots, s.OnDemand.Ask = t.TempDir(), url, roots, oracle.URL
	})
	c, err := Environment{Log: slog.New(slog.DiscardHandler), Handshake: time.Second}.Start(s)
	if err != nil {
		t.Fatal(err)
	}
	c.Begin()
	<-asked
	var shakes sync.WaitGroup
	for _, name := range []string{"x.example", "slow.example", "y.example"} {
		for range 10 {
			shakes.Go(func() {
				if got, err := c.get(&tls.ClientHelloInfo{ServerName: name}); got != nil {
					t.Errorf("%s: got %v, %v", name, got, err)
				}
			})
		}
	}
	next := s
	next.Domains, next.OnDemand.Allow = []string{"b.example"}, []string{"*.example"}
	use, err := c.Prepare(next)
	if err != nil {
		t.Fatal(err)
	}
	use()
	shakes.Wait()
	start := time.Now()
	c.Close()
	if took := time.Since(start); took > 4*closeTime {
		t.Errorf("it took %v", took)
	}
	use() // as a reload that comes too late
	c.Close()
	eventually(t, "the end of what is left", func() bool { return len(ours(before)) == 0 })
	if locks, err := filepath.Glob(filepath.Join(s.Storage, "locks", "*")); len(locks) > 0 || err != nil {
		t.Errorf("locks are left: %q, %v", locks, err)
	}
}

// Who is asked by https, and says nothing where the handshake should be, costs no
// connection for longer than the question: http.Transport by itself would wait for ever.
func TestSilenceBeforeTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	before, at := running(), "https://"+l.Addr().String()
	g := newGate(t.Context(), OnDemand{Ask: at}, func(string) {})
	defer g.close()
	i := newIssuer(t)
	c := i.leaf(t, 7, 13*week, at)
	var asking sync.WaitGroup
	for n := range 8 {
		asking.Go(func() {
			if err := g.judge(t.Context(), fmt.Sprintf("n%d.example", n)); err == nil {
				t.Error("it is allowed")
			}
		})
	}
	asking.Go(func() {
		if _, err := newStaple(&c.Certificate).fetch(t.Context(), responderClient(nil)); err == nil {
			t.Error("there is a response")
		}
	})
	asking.Wait()
	eventually(t, "the end of what is left", func() bool { return len(ours(before)) == 0 })
}
