// Package proxy is the WebSocket side: it dials the backend, relays raw
// WebSocket connections frame by frame without decoding them, and passes plain
// HTTP through.
package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"sidecar/access"
	"sidecar/heartbeat"
)

// An Observer is told what happens on one route. Its methods are called from
// many goroutines at once, must not block, and get strings from fixed sets only.
type Observer interface {
	// Refused: a handshake was turned away before the backend was asked.
	Refused(reason string)
	// Dialed: the backend was asked for a connection. outcome is "ok",
	// "refused" (it answered, but not with 101), "invalid", "timeout" or "error".
	Dialed(outcome string, took time.Duration)
	// Opened: a connection is being relayed.
	Opened()
	// Closed: it ended, for one of Causes.
	Closed(cause string, age time.Duration)
	// Relayed: bytes arrived, and so many data messages ended among them; up is
	// from the client.
	Relayed(up bool, bytes, messages int)
	// Answered: one of our pings was answered. hop is "client" or "backend".
	Answered(hop string, rtt time.Duration)
}

// Causes are what a relayed connection can end by, the fixed set that Observer
// and the log use.
var Causes = []string{
	"client_close", "backend_close", // a close frame, from whom
	"client_gone", "backend_gone", // the socket ended without one
	"client_timeout", "backend_timeout", // silent for heartbeat interval + timeout
	"client_stalled", "backend_stalled", // took nothing, or left a frame unfinished, for too long
	"client_violation", "backend_violation", // broke the protocol or a limit
	"drain", // this program is stopping
}

// A Raw serves the WebSocket handshakes of one route: it passes each on to the
// backend and, when both agree, relays frames until either ends.
type Raw struct {
	Route     string // the operator's name for the route, in logs
	Backend   *Backend
	Guard     *access.Guard
	Heartbeat heartbeat.Policy
	Limits    Limits // zero fields mean the defaults
	Live      *Live
	Observer  Observer     // nil: nobody
	Log       *slog.Logger // nil: slog.Default()
}

// HTTP passes a route's plain HTTP requests through to the backend, streaming
// both ways. Upgrades to anything at all, CONNECT and absolute request targets
// are refused. The Origin check does not apply: these requests are the
// backend's own affair, as they would be without us.
type HTTP struct {
	Route   string
	Backend *Backend
	Proxies access.Proxies
	Limits  Limits
	Log     *slog.Logger
}

// A Live is the set of relayed connections. Its zero value is ready.
type Live struct{}

// Len is the number of connections being relayed.
func (l *Live) Len() int { panic("not yet") }

// Drain asks every connection to close with the code and reason, spread evenly
// over spread, and waits until all have ended or ctx is done; then it cuts the
// rest and reports how many those were. Connections that open meanwhile are
// asked at once.
func (l *Live) Drain(ctx context.Context, spread time.Duration, code int, reason string) (cut int) {
	panic("not yet")
}

// A Backend is an Upstream made ready: its files read, its address known.
type Backend struct{}

// NewBackend reads the files that u names. prefix is the route's path, whose
// place a path in u.URL takes. Call Close when no route uses it any more.
func NewBackend(u Upstream, prefix string) (*Backend, error) { panic("not yet") }

// Check dials the backend and hangs up: for readiness.
func (b *Backend) Check(ctx context.Context) error { panic("not yet") }

// Close drops the idle connections that pass-through keeps. Connections in use
// are not touched.
func (b *Backend) Close() { panic("not yet") }

func (h *Raw) ServeHTTP(w http.ResponseWriter, r *http.Request) { panic("not yet") }

func (h *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) { panic("not yet") }
