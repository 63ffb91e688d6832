// Package polling carries sessions over plain HTTP responses, for clients whose
// network lets no WebSocket through. It is the side that all such protocols share
// and knows none of them: who may ask, bodies that end in time, and answers that
// are held back until there is something to say.
package polling

import (
	"net/http"
	"time"

	"sidecar/access"
)

const (
	defaultWriteTimeout = 10 * time.Second
	defaultBodyTimeout  = 10 * time.Second
	// preflightAge is how long a browser may keep what a preflight said, in
	// seconds. Chromium keeps none for longer than this.
	preflightAge = "7200"
)

// A Desk is where a route's plain-HTTP transports meet their clients. There is one
// for each route; its fields do not change while it is in use.
type Desk struct {
	// Guard is whose Origin check every request passes.
	Guard *access.Guard
	// Lot is where requests wait that can do so without a goroutine. Nil: each
	// keeps its own, with the same behaviour.
	Lot *Lot
	// WriteTimeout is how long an answer may go without any of it being taken by
	// the client; then the connection is cut. Default 10s.
	WriteTimeout time.Duration
	// BodyTimeout is what a request body has in which to come, and 1 s more for
	// each KiB that came. Default 10s.
	BodyTimeout time.Duration
}

// Check says who sent r and whether its page may connect. It sets on w's header
// what every answer needs, in either case: Cache-Control: no-store, Vary: Origin,
// and if the request has an Origin that may connect Access-Control-Allow-Origin,
// which repeats it. Credentials are allowed only to origins that are listed or the
// same, never to those that pass because of "*", nor to "null": any page could
// then read what it asked in the name of the user.
//
// The error is a *access.Refusal; nothing was written, so that the protocol can
// word it.
func (d *Desk) Check(w http.ResponseWriter, r *http.Request) (access.Client, error) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Origin")
	c, err := d.Guard.Check(r)
	if err != nil {
		return c, err
	}
	if origin := r.Header["Origin"]; len(origin) == 1 {
		h.Set("Access-Control-Allow-Origin", origin[0])
		if d.Guard.Origins.Names(r, c) {
			h.Set("Access-Control-Allow-Credentials", "true")
		}
	}
	return c, nil
}

// Preflight answers a CORS preflight (OPTIONS) that has passed Check: 204, with
// the methods there are, whatever headers were asked for, and the leave to ask no
// more for two hours. What the page then sends is checked all the same.
func (d *Desk) Preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Add("Vary", "Access-Control-Request-Headers")
	h.Set("Access-Control-Max-Age", preflightAge)
	d.renew(http.NewResponseController(w))
	w.WriteHeader(http.StatusNoContent)
}

func (d *Desk) writeTimeout() time.Duration { return orDefault(d.WriteTimeout, defaultWriteTimeout) }

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}
