package access

import (
	"net/http"
	"strconv"
	"time"
)

// A Refusal is an error that a client is told: a status and a sentence that
// names the setting behind it.
type Refusal struct {
	Status     int
	Reason     string        // from a fixed set, for metrics: "origin", "connections", "per_address", "rate"
	Text       string        // for the client; ends in the setting's name in parentheses
	RetryAfter time.Duration // 0: no header
}

// Error is the text that the client is told.
func (r *Refusal) Error() string { return r.Text }

// ServeHTTP answers with the refusal: status, Retry-After in whole seconds
// (rounded up), text/plain. Nobody may cache it: the next try may be let in.
func (r *Refusal) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.RetryAfter > 0 {
		seconds := (r.RetryAfter + time.Second - 1) / time.Second
		w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	http.Error(w, r.Text, r.Status)
}
