package admin

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func ask(h http.Handler, method, target string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w.Code, w.Body.String()
}

func fixed(checks ...Check) func() []Check { return func() []Check { return checks } }

func newTestMetrics() *Metrics {
	return NewMetrics(Build{"v1.2.3", "abc", "go1"}, func() int { return 7 })
}

func TestHandlerPaths(t *testing.T) {
	h := Handler(newTestMetrics(), fixed())
	for _, c := range []struct {
		method, target string
		want           int
	}{
		{"GET", "/livez", 200}, {"HEAD", "/livez", 200}, {"GET", "/readyz", 200}, {"GET", "/metrics", 200},
		{"POST", "/livez", 405}, {"DELETE", "/metrics", 405}, {"PUT", "/nothing", 405},
		{"GET", "/", 404}, {"GET", "/debug/pprof/", 404}, {"GET", "/livez/x", 404},
	} {
		if got, _ := ask(h, c.method, c.target); got != c.want {
			t.Errorf("%s %s = %d; want %d", c.method, c.target, got, c.want)
		}
	}
}

func TestReadyz(t *testing.T) {
	met := Check{"started", func(context.Context) error { return nil }}
	not := Check{"draining", func(context.Context) error { return errors.New("the program is stopping") }}
	for _, c := range []struct {
		name, target string
		checks       []Check
		status       int
		body         string
	}{
		{"met", "/readyz", []Check{met}, 200, "ok\n"},
		{"verbose", "/readyz?verbose", []Check{met}, 200, "[+] started\nok\n"},
		{"not met says why unasked", "/readyz", []Check{met, not}, 503, "[+] started\n[-] draining: the program is stopping\nnot ready\n"},
	} {
		status, body := ask(Handler(newTestMetrics(), fixed(c.checks...)), "GET", c.target)
		if status != c.status || body != c.body {
			t.Errorf("%s: got %d %q; want %d %q", c.name, status, body, c.status, c.body)
		}
	}
}

func TestReadyzDoesNotAwaitASlowBackendForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := Check{"upstream /", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		start := time.Now()
		status, body := ask(Handler(newTestMetrics(), fixed(slow, slow)), "GET", "/readyz")
		if status != 503 || !strings.Contains(body, "deadline exceeded") {
			t.Errorf("got %d %q; want 503 and why", status, body)
		}
		if took := time.Since(start); took != checkTime {
			t.Errorf("two slow backends took %v; want %v", took, checkTime)
		}
	})
}

func TestCachedAsksOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("down")
		n := 0
		get := Cached(time.Second, time.Second, func(context.Context) error { n++; return down })
		for range 21 { // every 100 ms for two seconds
			if err := get(t.Context()); err != down {
				t.Fatalf("got %v; want %v", err, down)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n != 3 {
			t.Errorf("asked %d times in 2 s; want 3", n)
		}
	})
}

func TestCachedForgivesAnImpatientCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		get := Cached(time.Second, time.Second, func(ctx context.Context) error {
			asked.Add(1)
			select {
			case <-time.After(500 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		hasty, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- get(hasty) }()
		synctest.Wait()
		other, cancelOther := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancelOther()
		if err := get(other); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("second caller got %v; want its own deadline, not a second ask", err)
		}
		if err := <-done; err != nil {
			t.Errorf("the answer was %v; want the backend's own, nil", err)
		}
		if err := get(t.Context()); err != nil || asked.Load() != 1 {
			t.Errorf("later: %v after %d asks; want nil after 1", err, asked.Load())
		}
	})
}
