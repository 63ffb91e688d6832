package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A Check is one condition of readiness.
type Check struct {
	Name string                      // the operator's name for it
	Ask  func(context.Context) error // returns why it is not met
}

// checkTime bounds one answer of /readyz, which probes commonly await for no
// more than a second or two.
const checkTime = 1500 * time.Millisecond

// Handler is what the ops listener serves: /livez, /readyz and /metrics, for
// GET and HEAD; anything else gets 404 or 405. checks is asked at each /readyz.
func Handler(m *Metrics, checks func() []Check) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) { ready(w, r, checks()) })
	mux.Handle("/metrics", m.handler())
	return readOnly(mux)
}

func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			answer(w, http.StatusMethodNotAllowed, "only GET and HEAD\n")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, status int, body string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // whoever asked has gone, then
}

// ready answers 200 when every check is met and 503 otherwise; ?verbose lists
// them, and so does a 503.
func ready(w http.ResponseWriter, r *http.Request, checks []Check) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTime)
	defer cancel()
	status := http.StatusOK
	var list strings.Builder
	for i, err := range askAll(ctx, checks) {
		if err != nil {
			status = http.StatusServiceUnavailable
			fmt.Fprintf(&list, "[-] %s: %v\n", checks[i].Name, err)
			continue
		}
		fmt.Fprintf(&list, "[+] %s\n", checks[i].Name)
	}
	if status == http.StatusOK && !r.URL.Query().Has("verbose") {
		list.Reset()
	}
	answer(w, status, list.String()+verdict(status))
}

func verdict(status int) string {
	if status == http.StatusOK {
		return "ok\n"
	}
	return "not ready\n"
}

// askAll asks all at once, because one backend that takes its time must not use
// up the time of the others.
func askAll(ctx context.Context, checks []Check) []error {
	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { errs[i] = c.Ask(ctx) })
	}
	wg.Wait()
	return errs
}

// Cached asks at most once in every, and gives what it learnt to everybody who
// asks meanwhile. An ask of its own outlives the caller's by no more than limit.
func Cached(every, limit time.Duration, ask func(context.Context) error) func(context.Context) error {
	c := &cached{every: every, limit: limit, ask: ask, turn: make(chan struct{}, 1)}
	return c.get
}

type cached struct {
	every, limit time.Duration
	ask          func(context.Context) error
	turn         chan struct{} // held by whoever reads or renews the rest
	at           time.Time
	err          error
}

func (c *cached) get(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return fmt.Errorf("waiting for a check under way: %w", ctx.Err())
	}
	if !c.at.IsZero() && time.Since(c.at) < c.every {
		return c.err
	}
	// A caller that hangs up must not have its own impatience remembered as the
	// backend's fault.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.limit)
	defer cancel()
	c.err, c.at = c.ask(ctx), time.Now()
	return c.err
}
