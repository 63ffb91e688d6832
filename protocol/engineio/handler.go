// Package engineio lets clients of Engine.IO, revision 4, connect by long-polling or
// WebSocket, and change from one to the other, to a backend that speaks plain
// WebSocket. The codec is pure (codec.go); Handler answers requests; an engine is
// one client's side of a session, and says which transport it is on.
//
// A client that is handed a message has it, as far as the protocol goes: there are no
// numbers, so a connection lost in mid-answer is the session's end, never a message
// sent again or left out. A session's client is never away: the ping timeout, a poll
// given up and a broken WebSocket end it.
//
// Text that has the character U+001E in it, by which the protocol separates packets,
// cannot go by polling: there is no escape for it. It ends the session, behind what
// came before it. On a WebSocket, and as binary, it passes.
//
// Where this differs from the reference server, on purpose: an Origin is a check on
// every request and not a hint; WebSocket handshakes are refused before the 101 and
// with the status that other requests get, but for one too many of a session, which
// is closed behind it; methods that are neither GET nor POST get 400; neither JSONP,
// WebTransport nor revision 3 is served.
package engineio

import (
	"log/slog"
	"net/http"
	"sync"

	"sidecar/access"
	"sidecar/polling"
	"sidecar/proxy"
	"sidecar/session"
)

// A Handler serves the protocol on one route. Its exported fields do not change
// while it is in use.
type Handler struct {
	Route    string // the operator's name for the route: a session is known on its own only
	Settings Settings
	Sessions *session.Sessions
	Session  *session.Settings
	// Desk is where requests by polling are met, and whose Guard admits sessions.
	Desk   *polling.Desk
	Dialer *proxy.Dialer
	// Carriers have a zero Heartbeat, as the protocol pings by itself, and
	// Settings.MaxPayload for their Limits.Message.
	Carriers *proxy.Carriers
	// Target is the path that the backend is asked for, with the query of the
	// application's own: EIO, transport, sid, t, b64 and j are taken off.
	Target string
	// Subprotocols are offered to the backend, unless the client brings its own.
	Subprotocols []string
	// Leaving reports whether clients can no longer come back for another poll,
	// because the program stops and takes no connections: an answer then has the
	// session's end with it. Nil: never.
	Leaving  func() bool
	Observer session.Observer // nil: nobody
	Log      *slog.Logger     // nil: slog.Default()

	once sync.Once // complains about text that cannot travel
	late lates
}

// ServeHTTP serves the requests on the protocol's path and below it, upgrades among
// them.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := parseQuery(r.URL.RawQuery)
	c, err := h.check(w, r, q)
	switch {
	case err != nil:
		h.refuse(w, r, err)
	case isPreflight(r):
		h.Desk.Preflight(w, r)
	case q.asked:
		h.serve(w, r, q)
	default:
		h.welcome(w, r, q, c)
	}
}

// check says who asks, and what is wrong with the request whatever session it is
// for.
func (h *Handler) check(w http.ResponseWriter, r *http.Request, q query) (access.Client, error) {
	if !printable(r.Header["Origin"]) {
		return access.Client{}, errRequest // before it is repeated in an answer
	}
	c, err := h.Desk.Check(w, r)
	switch {
	case err != nil:
		return c, err
	case q.transport != "polling" && q.transport != "websocket" && !isPreflight(r):
		return c, errTransport
	}
	return c, nil
}

// isPreflight knows the question of a browser whether a page may ask.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) > 0
}

// serve serves a request for a session.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, q query) {
	who := h.identify(r)
	e := h.find(q.sid, who)
	_, upgrades := r.Header["Upgrade"]
	switch {
	case e == nil:
		h.miss(w, r, q, who)
	case q.revision != "4" || upgrades != (q.transport == "websocket"):
		h.refuse(w, r, errRequest)
	case !e.serve(w, r, q):
		h.miss(w, r, q, who)
	}
}

// serve serves a request with the sid. False: the session is over.
func (e *engine) serve(w http.ResponseWriter, r *http.Request, q query) bool {
	switch {
	case q.transport == "websocket":
		return e.upgrade(w, r, q)
	case r.Method == http.MethodGet:
		return e.get(w, r)
	case r.Method == http.MethodPost:
		return e.post(w, r)
	}
	e.handler.refuse(w, r, errMethod)
	return true
}

// find finds the engine of a session, if the request may have it: a session of
// another identity, route or protocol is as unknown as none.
func (h *Handler) find(sid string, who session.Identity) *engine {
	s, err := h.Sessions.Find(sid, who)
	if err != nil {
		return nil
	}
	e, ok := s.Protocol().(*engine)
	if !ok || e.handler.Route != h.Route {
		return nil
	}
	return e
}

// miss answers a request for a session that is not there.
func (h *Handler) miss(w http.ResponseWriter, r *http.Request, q query, who session.Identity) {
	if r.Method == http.MethodGet && q.transport == "polling" && h.late.take(q.sid, who) {
		h.Desk.Write(w, r, payload([]byte{byte(noop)}))
		return
	}
	h.refuse(w, r, errSession)
}

// identify is who a session belongs to.
func (h *Handler) identify(r *http.Request) session.Identity {
	return polling.Identify(h.Session, r)
}

func (h *Handler) log() *slog.Logger {
	if h.Log != nil {
		return h.Log
	}
	return slog.Default()
}

// payload is an answer that has packets in it.
func payload(body []byte) polling.Answer { return polling.Answer{Type: typeText, Body: body} }

// printable reports whether there is no control character in values.
func printable(values []string) bool {
	for _, v := range values {
		for i := range len(v) {
			if v[i] < ' ' && v[i] != '\t' || v[i] == 0x7f {
				return false
			}
		}
	}
	return true
}
