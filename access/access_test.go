package access_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sidecar/access"
)

func TestZeroGuard(t *testing.T) {
	var g access.Guard
	r := httptest.NewRequest(http.MethodGet, "http://x/", nil)
	r.Header.Set("X-Forwarded-For", "6.6.6.6")
	r.Header.Set("Origin", "http://x")
	c, err := g.Check(r)
	if err != nil {
		t.Fatalf("same origin refused: %v", err)
	}
	if got, want := c.Addr.String(), "192.0.2.1"; got != want { // httptest's peer
		t.Errorf("address %s; want %s", got, want)
	}
	release, err := g.Admit(c)
	if err != nil {
		t.Fatalf("admitting: %v", err)
	}
	release()
	release()
	r.Header.Set("Origin", "http://evil")
	c, err = g.Check(r)
	wantRefusal(t, err, http.StatusForbidden, "origin")
	if got, want := c.Host, "x"; got != want {
		t.Errorf("host of the refused %q; want %q", got, want)
	}
}

// The origin is compared with what a trusted proxy says the client asked for.
func TestGuardChecksOriginBehindProxy(t *testing.T) {
	tests := []struct {
		name    string
		proxies []string
		origin  string
		passes  bool
	}{
		{"the proxy's name for us", []string{"192.0.2.1"}, "https://public.example", true},
		{"its scheme", []string{"192.0.2.1"}, "http://public.example", false},
		{"our inner name", []string{"192.0.2.1"}, "https://inner", false},
		{"a stranger's name for us", nil, "https://public.example", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := access.Guard{Proxies: proxies(t, tt.proxies...)}
			r := httptest.NewRequest(http.MethodGet, "http://inner/", nil)
			r.Header = header("X-Forwarded-Host", "public.example", "X-Forwarded-Proto", "https", "Origin", tt.origin)
			_, err := g.Check(r)
			if tt.passes && err != nil {
				t.Errorf("refused: %v; want passed", err)
			}
			if !tt.passes {
				wantRefusal(t, err, http.StatusForbidden, "origin")
			}
		})
	}
}

func TestGuardAdmitsInAllOrNone(t *testing.T) {
	limiter := func(connections int) *access.Limiter {
		return access.NewLimiter(access.Limits{Connections: connections, PerAddress: off, HandshakesPerSecond: off})
	}
	first, second, third := limiter(3), limiter(2), limiter(1)
	g := access.Guard{Limiters: []*access.Limiter{first, second, third}}
	release, err := g.Admit(access.Client{Addr: ann})
	if err != nil {
		t.Fatalf("admitting: %v", err)
	}
	_, err = g.Admit(access.Client{Addr: bob})
	wantRefusal(t, err, http.StatusServiceUnavailable, "connections")
	if a, b, c := first.Len(), second.Len(), third.Len(); a != 1 || b != 1 || c != 1 {
		t.Errorf("counted %d, %d, %d after a refusal; want 1 each", a, b, c)
	}
	release()
	release()
	if a, b, c := first.Len(), second.Len(), third.Len(); a != 0 || b != 0 || c != 0 {
		t.Errorf("counted %d, %d, %d after release; want 0 each", a, b, c)
	}
	if _, err = g.Admit(access.Client{Addr: bob}); err != nil {
		t.Errorf("admitting after release: %v", err)
	}
}

func TestRefusalAnswer(t *testing.T) {
	tests := []struct {
		after time.Duration
		want  string
	}{
		{0, ""},
		{time.Millisecond, "1"},
		{time.Second, "1"},
		{1001 * time.Millisecond, "2"},
		{time.Minute, "60"},
	}
	for _, tt := range tests {
		refusal := &access.Refusal{Status: http.StatusServiceUnavailable, Reason: "connections", Text: "too many (limits.connections)", RetryAfter: tt.after}
		w := httptest.NewRecorder()
		refusal.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if got := w.Header().Get("Retry-After"); got != tt.want {
			t.Errorf("Retry-After %q for %v; want %q", got, tt.after, tt.want)
		}
		if got, want := w.Code, http.StatusServiceUnavailable; got != want {
			t.Errorf("status %d; want %d", got, want)
		}
		if got, want := w.Header().Get("Content-Type"), "text/plain; charset=utf-8"; got != want {
			t.Errorf("Content-Type %q; want %q", got, want)
		}
		if got, want := w.Header().Get("Cache-Control"), "no-store"; got != want {
			t.Errorf("Cache-Control %q; want %q", got, want)
		}
		if got, want := w.Body.String(), "too many (limits.connections)\n"; got != want || refusal.Error()+"\n" != want {
			t.Errorf("body %q, error %q; want %q", got, refusal.Error(), want)
		}
	}
}

// Who finds no room has used nothing of any Limiter.
func TestGuardAsksForRoomFirst(t *testing.T) {
	l := access.NewLimiter(access.Limits{Connections: 1, PerAddress: -1, HandshakesPerSecond: -1})
	room := false
	g := access.Guard{Limiters: []*access.Limiter{l}, Room: func() error {
		if room {
			return nil
		}
		return access.Full("no room")
	}}
	var refusal *access.Refusal
	if _, err := g.Admit(access.Client{}); !errors.As(err, &refusal) || refusal.Status != 503 || l.Len() != 0 {
		t.Errorf("without room: %v, %d counted; want 503 and none", err, l.Len())
	}
	room = true
	if _, err := g.Admit(access.Client{}); err != nil || l.Len() != 1 {
		t.Errorf("with room: %v, %d counted; want one", err, l.Len())
	}
}
