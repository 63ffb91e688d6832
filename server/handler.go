package server

import (
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"sidecar/access"
	"sidecar/proxy"
)

// answerTime bounds the reading and writing of what this package answers itself.
const answerTime = 5 * time.Second

// ServeHTTP is the public side. What it refuses, no backend hears of.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer s.logPanic()
	p := s.acquire()
	defer p.release()
	_, upgrade := r.Header["Upgrade"]
	if s.draining.Load() {
		// Every client of an idle keep-alive connection finds another server now,
		// while it still gets its answer here. A handshake that succeeds says
		// Connection: Upgrade in its place.
		w.Header().Set("Connection", "close")
	}
	if refusal := checkTarget(r); refusal != nil {
		s.refuse(w, r, refusal)
		return
	}
	if refusal := s.introduce(w, r); refusal != nil {
		s.refuse(w, r, refusal)
		return
	}
	path := proxy.EscapedPath(r.URL)
	site := p.table.find(r.Host, path)
	if refusal := checkSite(site, r, path, upgrade); refusal != nil {
		s.refuse(w, r, refusal)
		return
	}
	c := http.NewResponseController(w)
	session := site.session(r, path)
	if upgrade {
		// Hijacking clears the deadlines; until then they bound the answer to a
		// client that takes nothing and a body that should not be there.
		by := time.Now().Add(site.upgrade)
		_ = c.SetWriteDeadline(by)
		if r.ContentLength != 0 {
			_ = c.SetReadDeadline(by)
		}
		if session == nil {
			session = site.raw
		}
		session.ServeHTTP(w, r)
		return
	}
	if session != nil {
		s.serveSession(w, r, session)
		return
	}
	if err := s.upstreams.enter(); err != nil {
		s.refuse(w, r, err)
		return
	}
	defer s.upstreams.leave()
	if overHTTP2(r) {
		if !s.slots.takeStream() {
			s.refuse(w, r, tooManyStreams())
			return
		}
		defer s.slots.release()
	}
	_ = c.SetWriteDeadline(time.Time{}) // the last answer's; HTTP has its own
	site.plain.ServeHTTP(w, r)
	if r.ContentLength != 0 {
		// net/http reads the rest of a body that the backend did not want.
		_ = c.SetReadDeadline(time.Now().Add(answerTime))
	}
}

func tooManyStreams() *access.Refusal {
	return &access.Refusal{Status: http.StatusServiceUnavailable, Reason: "streams", RetryAfter: time.Second, Text: "too many requests are under way"}
}

// checkTarget refuses request targets that are not a path: those that proxies
// understand as an order to go somewhere else.
func checkTarget(r *http.Request) *access.Refusal {
	switch {
	case overHTTP2(r):
		if refusal := checkStream(r); refusal != nil {
			return refusal
		}
	case r.ProtoMajor != 1: // net/http lets the preface of HTTP/2 pass as a request
		return &access.Refusal{Status: http.StatusHTTPVersionNotSupported, Reason: "target", Text: "only HTTP/1.1 is served here"}
	}
	switch {
	case r.Method == http.MethodConnect:
		return &access.Refusal{Status: http.StatusMethodNotAllowed, Reason: "method", Text: "CONNECT is not served here"}
	case r.URL.IsAbs() || r.URL.Host != "" || !strings.HasPrefix(r.RequestURI, "/"):
		return &access.Refusal{Status: http.StatusBadRequest, Reason: "target", Text: "the request target must be a path"}
	}
	return nil
}

func checkSite(s *site, r *http.Request, path string, upgrade bool) *access.Refusal {
	switch {
	case s == nil:
		return &access.Refusal{Status: http.StatusNotFound, Reason: "no_route", Text: "no route for this host and path (routes)"}
	case s.replaces && climbs(path):
		// Behind the prefix is a path of the backend that the operator chose;
		// ".." would lead out of it.
		return &access.Refusal{Status: http.StatusBadRequest, Reason: "dot_segment", Text: "dot segments are not served on this route"}
	case s.session(r, path) != nil:
		return nil
	case upgrade && !s.socket:
		return &access.Refusal{Status: http.StatusForbidden, Reason: "protocol", Text: "WebSocket is switched off on this route (protocols)"}
	case !upgrade && s.plain == nil:
		return &access.Refusal{Status: http.StatusNotFound, Reason: "protocol", Text: "plain HTTP is switched off on this route (protocols)"}
	}
	return nil
}

// refuse answers by itself. The connection closes if there may be a body: its
// sender has answerTime to end it, and what follows it might be no request.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, refusal *access.Refusal) {
	s.metrics.Refused(refusal.Reason)
	s.log.Debug("request refused", "reason", refusal.Reason, "status", refusal.Status,
		"host", clip(r.Host), "path", clip(r.URL.EscapedPath()), "agent", clip(r.UserAgent()))
	c := http.NewResponseController(w)
	by := time.Now().Add(answerTime)
	_, _ = c.SetWriteDeadline(by), c.SetReadDeadline(by)
	// Over HTTP/2 a body has an end that nobody can mistake.
	if !overHTTP2(r) && (r.ContentLength != 0 || r.Method == http.MethodConnect || r.ProtoMajor != 1) {
		w.Header().Set("Connection", "close")
	}
	refusal.ServeHTTP(w, r)
}

// clip bounds what a stranger can put into a log line.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// logPanic logs a fault of ours, which net/http would log where nobody looks,
// and ends the one connection.
func (s *Server) logPanic() {
	v := recover()
	if v == nil {
		return
	}
	if v != http.ErrAbortHandler {
		s.log.Error("a request panicked", "panic", v, "stack", string(debug.Stack()))
	}
	panic(http.ErrAbortHandler)
}
