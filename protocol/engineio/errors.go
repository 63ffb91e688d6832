package engineio

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sidecar/access"
	"sidecar/polling"
	"sidecar/proxy"
	"sidecar/session"
)

// A fault is what is wrong with a request, in the protocol's own words.
type fault struct {
	code    int
	status  int
	message string
}

func (f *fault) Error() string { return f.message }

// The faults that the protocol numbers. Clients go by the status, people by the
// message.
var (
	errTransport = &fault{0, http.StatusBadRequest, "Transport unknown"}
	errSession   = &fault{1, http.StatusBadRequest, "Session ID unknown"}
	errMethod    = &fault{2, http.StatusBadRequest, "Bad handshake method"}
	errRequest   = &fault{3, http.StatusBadRequest, "Bad request"}
	errForbidden = &fault{4, http.StatusForbidden, "Forbidden"}
	errRevision  = &fault{5, http.StatusBadRequest, "Unsupported protocol version"}
)

const (
	typeJSON = "application/json"
	typeHTML = "text/html" // of what says "ok", as other servers have it
	typeText = "text/plain; charset=UTF-8"
)

// retryAfter is when a client that found no room should try again.
const retryAfter = time.Second

// refuse answers a request that is not served, for whatever reason.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	shun(w, r)
	f, refusal, refused, failure := (*fault)(nil), (*access.Refusal)(nil), (*proxy.Refused)(nil), (*proxy.Failure)(nil)
	switch {
	case errors.As(err, &f):
	case errors.As(err, &refusal):
		f = h.worded(w, refusal)
	case errors.As(err, &refused):
		h.passOn(w, r, refused)
		return
	case errors.As(err, &failure):
		f = h.worded(w, unreached(failure))
	case errors.Is(err, session.ErrFull):
		f = h.worded(w, &access.Refusal{Status: http.StatusServiceUnavailable, Reason: "memory", Text: "sessions hold as much as they may (session_memory.limit)", RetryAfter: retryAfter})
	case errors.Is(err, session.ErrEnded):
		f = h.worded(w, &access.Refusal{Status: http.StatusServiceUnavailable, Text: "the server is going away", RetryAfter: retryAfter})
	default: // the client has gone; whoever is there instead gets nothing
		panic(http.ErrAbortHandler)
	}
	h.log().Debug("request refused", "route", h.Route, "protocol", "engineio", "status", f.status, "text", f.message)
	h.Desk.Write(w, r, f.answer())
}

// reject answers what ends a session: there is nothing to be said.
func (h *Handler) reject(w http.ResponseWriter, r *http.Request) {
	shun(w, r)
	h.Desk.Write(w, r, polling.Answer{Status: http.StatusBadRequest})
}

// shun has the connection end behind the answer if there is a body that nobody reads,
// or a WebSocket was asked for: a proxy in front may take it for one.
func shun(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && (r.ContentLength != 0 || len(r.Header["Upgrade"]) > 0) {
		w.Header().Set("Connection", "close")
	}
}

// unreached is the refusal for a backend that gave no answer. Why is not told.
func unreached(f *proxy.Failure) *access.Refusal {
	refusal := &access.Refusal{Status: f.Status, Text: "the backend cannot be reached"}
	if f.Status == http.StatusServiceUnavailable {
		refusal.RetryAfter = retryAfter
	}
	return refusal
}

// worded is a refusal of ours as the protocol says it, and counts it.
func (h *Handler) worded(w http.ResponseWriter, r *access.Refusal) *fault {
	if o := h.Dialer.Observer; o != nil && r.Reason != "" {
		o.Refused(r.Reason)
	}
	if r.RetryAfter > 0 {
		seconds := (r.RetryAfter + time.Second - 1) / time.Second
		w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	if r.Reason == "origin" { // whose text has a stranger's words in it
		return errForbidden
	}
	return &fault{errForbidden.code, r.Status, r.Text}
}

// answer is f as the protocol has it.
func (f *fault) answer() polling.Answer {
	b := append([]byte(nil), `{"code":`...)
	b = strconv.AppendInt(b, int64(f.code), 10)
	b = append(b, `,"message":`...)
	b = strconv.AppendQuote(b, f.message)
	return polling.Answer{Status: f.status, Type: typeJSON, Body: append(b, '}')}
}

// passOn gives the client the backend's refusal: its status, for clients try again
// on any, its words and its cookies. Who may read the answer is ours to say, and
// that nobody keeps it.
func (h *Handler) passOn(w http.ResponseWriter, r *http.Request, refused *proxy.Refused) {
	header := w.Header()
	for name, values := range refused.Header {
		if !isOurs(name) {
			header[name] = values
		}
	}
	status := refused.Status
	if status < http.StatusBadRequest {
		status = http.StatusBadGateway // it is no answer to a handshake, and here would be taken for one
	}
	h.Desk.Write(w, r, polling.Answer{Status: status, Type: header.Get("Content-Type"), Body: refused.Body})
}

// isOurs knows the headers of a refusal that are not the backend's to say.
func isOurs(name string) bool {
	switch name {
	case "Cache-Control", "Content-Length", "Vary":
		return true
	}
	return strings.HasPrefix(name, "Access-Control-") || strings.HasPrefix(name, "Sec-Websocket-")
}
