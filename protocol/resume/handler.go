// Package resume serves resumable WebSocket, the protocol of docs/protocol.md, whose
// section numbers are named here: one session with a backend of plain WebSocket, over
// WebSockets, streams and long-polls that come and go.
//
// Handler answers requests. A Lobby is where sessions are opened. A client is one
// client's side of a session, and a carrier one way to it.
package resume

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"sidecar/access"
	"sidecar/heartbeat"
	"sidecar/polling"
	"sidecar/protocol/resume/wire"
	"sidecar/proxy"
	"sidecar/session"
)

// MaxCarried is the most bytes of one WebSocket message of a carrier (§3.1), for
// Handler.Carriers.
const MaxCarried = wire.MaxBody

// A Handler serves the protocol on one route. Its exported fields do not change
// while it is in use.
type Handler struct {
	Route    string // the operator's name for the route: a session is known on its own only
	Settings Settings
	// Heartbeat is how silence is judged, on every carrier; zero: it is not.
	Heartbeat heartbeat.Policy
	// Message is the most bytes of a client's message. 0: none.
	Message  int64
	Sessions *session.Sessions
	Session  *session.Settings
	// Desk is where HTTP carriers are met, and whose Guard checks every request and
	// admits sessions.
	Desk   *polling.Desk
	Dialer *proxy.Dialer
	// Subprotocols are offered to the backend, unless the client brings its own.
	Subprotocols []string
	// Carriers have a zero Heartbeat, as the protocol pings by itself, and
	// MaxCarried for their Limits.Message.
	Carriers *proxy.Carriers
	// Lobby is the program's, and outlives the handler. Nil: the handler has its own.
	Lobby *Lobby
	// Leaving reports whether clients can no longer come back with another request,
	// because the program stops and takes no connections: an answer then has the
	// session's end with it. Nil: never.
	Leaving  func() bool
	Observer session.Observer // nil: nobody
	Log      *slog.Logger     // nil: slog.Default()

	own Lobby
}

// Handles reports whether a request is of this protocol: a WebSocket handshake that
// offers it, or another request with its parameter. All others are for whoever
// serves the route besides; Handler is not to be asked to serve them.
func Handles(r *http.Request) bool {
	if _, upgrades := r.Header["Upgrade"]; upgrades {
		return offers(r)
	}
	_, _, ok := wire.CutKind(r.URL.RawQuery)
	return ok
}

// offers reports whether a handshake offers the protocol, wherever in its list.
func offers(r *http.Request) bool {
	for _, line := range r.Header["Sec-Websocket-Protocol"] {
		for name := range strings.SplitSeq(line, ",") {
			if strings.Trim(name, " \t") == wire.Subprotocol {
				return true
			}
		}
	}
	return false
}

// ServeHTTP serves the requests that Handles is true of.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, upgrades := r.Header["Upgrade"]; upgrades {
		h.serveSocket(w, r)
		return
	}
	h.serveRequest(w, r)
}

// turnAway answers a request that Guard refused.
func (h *Handler) turnAway(w http.ResponseWriter, r *http.Request, err error) {
	refusal := (*access.Refusal)(nil)
	if !errors.As(err, &refusal) {
		refusal = &access.Refusal{Status: http.StatusForbidden, Text: "forbidden"}
	}
	h.count(refusal)
	refusal.ServeHTTP(w, r)
}

func (h *Handler) log() *slog.Logger {
	if h.Log != nil {
		return h.Log
	}
	return slog.Default()
}
