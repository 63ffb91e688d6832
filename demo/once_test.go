package demo

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// sameOrigin stands for a sidecar, as far as the checks can tell one from a
// Backend alone.
func sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o := r.Header.Get("Origin"); o != "" && o != "http://"+r.Host {
			http.Error(w, "origin", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// failures reads the table of checks and returns the names of those that failed. It
// fails the test if the table is not as Once promises.
func failures(t *testing.T, checks []check, table string) []string {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(table, "\n"), "\n")
	if got, want := len(lines), len(checks)+2; got != want {
		t.Fatalf("table has %d lines; want %d:\n%s", got, want, table)
	}
	if strings.ContainsRune(table, '\x1b') {
		t.Errorf("table has a control character: %q", table)
	}
	at := strings.Index(lines[0], "result")
	var failed []string
	for i, c := range checks {
		line := lines[i+1]
		if got := strings.TrimSpace(line[:at]); got != c.name {
			t.Errorf("row %d is of %q; want %q", i+1, got, c.name)
		}
		switch result, _, _ := strings.Cut(line[at:], " "); result {
		case "ok":
		case "FAILED":
			failed = append(failed, c.name)
		default:
			t.Errorf("row %q has result %q; want ok or FAILED", c.name, result)
		}
	}
	want := fmt.Sprintf("%d passed, %d failed", len(checks)-len(failed), len(failed))
	if got := lines[len(lines)-1]; got != want {
		t.Errorf("last line %q; want %q", got, want)
	}
	return failed
}

func TestOnceAgainstBackendAlone(t *testing.T) {
	s := httptest.NewServer(Backend())
	defer s.Close()
	var table strings.Builder
	if Once(t.Context(), &table, s.URL) {
		t.Error("all passed without a sidecar")
	}
	got := failures(t, slices.Concat(checks, resumptions), table.String())
	want := []string{"Engine.IO by polling", "Engine.IO by WebSocket", "Engine.IO upgrade", "foreign Origin refused"}
	for _, c := range resumptions {
		want = append(want, c.name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("failed: %q; want %q\n%s", got, want, table.String())
	}
}

func TestOncePasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table strings.Builder
		b := newBackend(100)
		ok := run(t.Context(), &table, testBase, serve(t, sameOrigin(withEngine(&fakeEngine{}, b.handler()))), checks, nil)
		if failed := failures(t, checks, table.String()); !ok || failed != nil {
			t.Errorf("passed: %v, failed: %q; want all passed\n%s", ok, failed, table.String())
		}
		synctest.Wait()
		if got := len(b.slots); got != 0 {
			t.Errorf("%d connections left; want 0", got)
		}
	})
}

func TestOnceBesideOthersInTheChat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := serve(t, sameOrigin(withEngine(&fakeEngine{}, Backend())))
		done := make(chan bool)
		for range 3 {
			go func() { done <- run(t.Context(), new(strings.Builder), testBase, dial, checks, nil) }()
		}
		for range 3 {
			if !<-done {
				t.Error("checks running beside each other failed")
			}
		}
	})
}

// A backend that never answers costs each check its 5 s and no more.
func TestOnceBoundsEveryCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mute := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		var table strings.Builder
		start := time.Now()
		if run(t.Context(), &table, testBase, serve(t, mute), checks, nil) {
			t.Error("all passed against a mute backend")
		}
		if got := failures(t, checks, table.String()); len(got) != len(checks) {
			t.Errorf("failed: %q; want all", got)
		}
		if got, want := time.Since(start), time.Duration(len(checks))*checkIn; got != want {
			t.Errorf("took %v; want %v", got, want)
		}
	})
}

func TestOnceStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // amid the ticker
		defer cancel()
		var table strings.Builder
		start := time.Now()
		if run(ctx, &table, testBase, serve(t, sameOrigin(withEngine(&fakeEngine{}, Backend()))), checks, nil) {
			t.Error("all passed although there was no time")
		}
		got := failures(t, checks, table.String())
		if want := []string{"ticker", "chat between two", "Engine.IO by polling", "Engine.IO by WebSocket", "Engine.IO upgrade", "HTTP pass-through", "HTTP streaming", "foreign Origin refused"}; !slices.Equal(got, want) {
			t.Errorf("failed: %q; want %q", got, want)
		}
		if got := time.Since(start); got != time.Second {
			t.Errorf("took %v; want 1s", got)
		}
	})
}

func TestOnceRefusesAddresses(t *testing.T) {
	for _, base := range []string{"", "demo.example", "ws://demo.example", "http://", "http://demo.example/app", "http://%zz"} {
		var out strings.Builder
		if Once(t.Context(), &out, base) {
			t.Errorf("%q passed", base)
		}
		if !strings.HasPrefix(out.String(), "reading the address: ") {
			t.Errorf("%q: printed %q; want what is wrong with the address", base, out.String())
		}
	}
}
