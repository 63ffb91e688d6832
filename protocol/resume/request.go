package resume

import (
	"errors"
	"mime"
	"net/http"
	"time"

	"sidecar/access"
	"sidecar/polling"
	"sidecar/protocol/resume/wire"
)

// answer is one of the protocol's.
func answer(frames []byte) polling.Answer {
	return polling.Answer{Type: wire.ContentType, Body: frames}
}

// serveRequest serves a request of an HTTP carrier (§3.2).
func (h *Handler) serveRequest(w http.ResponseWriter, r *http.Request) {
	c, err := h.check(w, r)
	switch {
	case err != nil:
		h.deny(w, r, err)
		return
	case r.Method == http.MethodOptions:
		h.Desk.Preflight(w, r)
		return
	}
	kind, query, _ := wire.CutKind(r.URL.RawQuery)
	body, err := h.Desk.Read(w, r, wire.MaxBody)
	if err != nil {
		h.deny(w, r, err)
		return
	}
	if err := wire.CheckBody(kind, body); err != nil {
		h.deny(w, r, &access.Refusal{Status: http.StatusBadRequest, Reason: "body", Text: err.Error()})
		return
	}
	f, rest, _ := wire.Split(body) // CheckBody has seen it
	a := h.ask(r, c, query)
	switch {
	case kind == wire.Stream:
		h.serveStream(w, r, a, f, rest)
	case kind == wire.Poll:
		h.servePoll(w, r, a, f, rest)
	default:
		h.serveSend(w, r, a, f, rest)
	}
}

// check is what is asked of a request before its body is looked at.
func (h *Handler) check(w http.ResponseWriter, r *http.Request) (access.Client, error) {
	c, err := h.Desk.Check(w, r)
	header := w.Header()
	header.Set("Cache-Control", "no-store, no-transform")
	header.Set("X-Accel-Buffering", "no")
	header.Set("X-Content-Type-Options", "nosniff")
	if err != nil || r.Method == http.MethodOptions {
		return c, err
	}
	if r.Method != http.MethodPost {
		header.Set("Allow", "POST, OPTIONS")
		return c, &access.Refusal{Status: http.StatusMethodNotAllowed, Reason: "method", Text: "requests of sidecar are POSTs"}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != wire.RequestType {
		return c, &access.Refusal{Status: http.StatusUnsupportedMediaType, Reason: "body", Text: "the Content-Type must be " + wire.RequestType}
	}
	return c, nil
}

// deny answers a request of which nothing counts.
func (h *Handler) deny(w http.ResponseWriter, r *http.Request, err error) {
	refusal, ok := err.(*access.Refusal)
	if !ok {
		refusal = &access.Refusal{Status: http.StatusForbidden, Text: "forbidden"}
	}
	if r.ContentLength != 0 && r.Body != http.NoBody && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(denyTime)) // not on every writer
	h.turnAway(w, r, refusal)
}

// denyTime is what a client has to take a refusal.
const denyTime = 5 * time.Second

// begin attaches the carrier of an HTTP request that begins with a HELLO. Without
// either result the client was answered, or has gone. w is nil where an answer has
// begun.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request, a *ask, first wire.Frame, rest []byte, k *carrier) (*carrier, []byte) {
	hello, err := wire.ParseHello(first.Body)
	if err != nil { // CheckBody has seen it
		h.deny(w, r, &access.Refusal{Status: http.StatusBadRequest, Text: "no HELLO"})
		return nil, nil
	}
	k.generation = hello.Generation
	if hello.Session != "" {
		c, reason := h.find(hello.Session, a)
		if reason == "" {
			reason = c.resume(k, hello)
		}
		if reason != "" {
			return nil, gone(nil, reason)
		}
		c.accept(k, rest)
		return k, nil
	}
	c, refused, err := h.meet(r.Context(), a, hello)
	switch {
	case errors.Is(err, errCrowd) && w == nil: // a stream that has begun
		return nil, nil
	case errors.Is(err, errCrowd):
		h.deny(w, r, &access.Refusal{Status: http.StatusServiceUnavailable, Text: "too many carriers", RetryAfter: time.Second})
		return nil, nil
	case err != nil:
		panic(http.ErrAbortHandler) // nobody is there
	case refused != nil:
		return nil, refusal(refused)
	}
	if reason := c.join(k, hello); reason != "" {
		return nil, gone(nil, reason)
	}
	return k, nil
}

// accept takes the frames behind a HELLO.
func (c *client) accept(k *carrier, rest []byte) {
	now := time.Now()
	c.mu.Lock()
	if len(rest) == 0 || k.over || c.over != 0 {
		c.mu.Unlock()
		return
	}
	t := c.take(rest, now)
	if t.pinged {
		k.ponged, k.marked = true, int8(copy(k.mark[:], t.mark))
	}
	c.mu.Unlock()
	c.do(t.after)
}

// goOn finds the client of a CONTINUE (§5.5).
func (h *Handler) goOn(a *ask, first wire.Frame) (c *client, generation uint64, reason string) {
	next, err := wire.ParseContinue(first.Body)
	if err != nil { // CheckBody has seen it
		return nil, 0, unknown
	}
	if c, reason = h.find(next.Session, a); reason != "" {
		return nil, 0, reason
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c, next.Generation, c.admit(next.Token, "")
}
