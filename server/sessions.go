package server

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sidecar/access"
	"sidecar/config"
	"sidecar/polling"
	"sidecar/protocol/engineio"
	"sidecar/protocol/resume"
	"sidecar/proxy"
)

// A door is where the requests of one protocol come in, upgrades and others.
type door struct {
	path string // escaped; all below it is the protocol's too
	http.Handler
}

// leads reports whether an escaped path is the door's. One that ends in a slash is
// not also without it.
func (d *door) leads(path string) bool {
	if d == nil {
		return false
	}
	rest, ok := strings.CutPrefix(path, d.path)
	return ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(d.path, "/"))
}

// session is who serves a request for a session, at an escaped path; nil: nobody, for
// it is none.
func (s *site) session(r *http.Request, path string) http.Handler {
	switch {
	case s.engineIO.leads(path):
		return s.engineIO
	case s.resume != nil && resume.Handles(r):
		return s.resume
	}
	return nil
}

// engineIO is the door of Engine.IO's clients on r, nil where it is not spoken. guard
// is that of the route's raw connections.
func (s *Server) engineIO(r config.Route, guard access.Guard, dial *proxy.Dialer) *door {
	if !slices.Contains(r.Protocols, "engineio") {
		return nil
	}
	guard.Room = s.upstreams.roomForSession
	carried := r.Limits.Proxy
	carried.Message = r.EngineIO.MaxPayload
	h := &engineio.Handler{
		Route: r.Name(), Settings: r.EngineIO, Sessions: &s.sessions, Session: &r.Session,
		Desk:     &polling.Desk{Guard: &guard, Lot: s.lot, WriteTimeout: r.Limits.Proxy.WriteTimeout},
		Dialer:   dial,
		Carriers: &proxy.Carriers{Limits: carried, Live: &s.live, Observer: dial.Observer, Loops: s.loops},
		Target:   pathOf(r, dial.Backend),
		Leaving:  s.closing.Load,
		Observer: s.metrics.Sessions(r.Name(), "engineio"), Log: s.log,
	}
	h.Subprotocols = ownSubprotocols(r)
	return &door{path: strings.TrimSuffix(r.Path, "/") + r.EngineIO.Path, Handler: h}
}

// resume serves the clients of resumable sessions on r. guard is that of the route's
// raw connections.
func (s *Server) resume(r config.Route, guard access.Guard, dial *proxy.Dialer) *resume.Handler {
	guard.Room = s.upstreams.roomForSession
	carried := r.Limits.Proxy
	carried.Message = resume.MaxCarried
	return &resume.Handler{
		Route: r.Name(), Settings: r.Resume, Heartbeat: r.Heartbeat,
		Message:  cmp.Or(r.Limits.Proxy.Message, proxy.DefaultLimits().Message), // as the proxy understands 0
		Sessions: &s.sessions, Session: &r.Session,
		Desk:     &polling.Desk{Guard: &guard, Lot: s.lot, WriteTimeout: r.Limits.Proxy.WriteTimeout},
		Dialer:   dial,
		Carriers: &proxy.Carriers{Limits: carried, Live: &s.resumed, Observer: dial.Observer, Loops: s.loops},
		Lobby:    &s.lobby, Subprotocols: ownSubprotocols(r),
		Leaving:  s.closing.Load,
		Observer: s.metrics.Sessions(r.Name(), "resume"), Log: s.log,
	}
}

// ownSubprotocols are offered to the backend where a client offers none.
func ownSubprotocols(r config.Route) []string {
	if r.Upstream.Subprotocol == "" {
		return nil
	}
	return []string{r.Upstream.Subprotocol}
}

// pathOf is the route's path in plain letters. Where the backend's own path takes its
// place that is to be asked for as it is written, without a slash that only the route
// has: so it is empty for a route "/".
func pathOf(r config.Route, b *proxy.Backend) string {
	path := r.Path
	if b.Replaces() {
		path = strings.TrimSuffix(path, "/")
	}
	plain, err := url.PathUnescape(path)
	if err != nil {
		return path // config has refused it
	}
	return plain
}

// boundSessions bounds what sessions take beside the sockets of their clients, which
// may be one for many of them.
func (s *Server) boundSessions() {
	s.upstreams.open, s.upstreams.most = s.limiter.Len, s.budget.sockets
	s.waiting.most = int64(2 * s.budget.sockets)
	s.metrics.SessionMemory(s.sessions.Held, func() int64 { return s.inForce.Load().config.SessionMemory.Limit })
}

// serveSession serves a request for a session, or to begin one. It may wait for as
// long as the session has nothing to say; the deadlines of bodies and answers are
// the protocol's own.
func (s *Server) serveSession(w http.ResponseWriter, r *http.Request, d http.Handler) {
	if overHTTP2(r) {
		own := streamsOf(r)
		if !s.waiting.enter(own) {
			s.refuse(w, r, tooManyStreams())
			return
		}
		defer s.waiting.leave(own)
	}
	// Another server does not know the session: its client is to come back here for
	// as long as there is a listener.
	w.Header().Del("Connection")
	if r.ContentLength != 0 {
		// Of a body that nobody wants. Who reads it sets a deadline of its own.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(answerTime))
	}
	d.ServeHTTP(w, r)
}
