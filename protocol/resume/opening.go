package resume

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"sidecar/access"
	"sidecar/polling"
	"sidecar/protocol/resume/wire"
	"sidecar/proxy"
	"sidecar/session"
)

// An ask is who begins a carrier, and what for.
type ask struct {
	request *http.Request
	client  access.Client
	who     session.Identity
	origin  string
	query   string // without our parameter
}

func (h *Handler) ask(r *http.Request, c access.Client, query string) *ask {
	return &ask{request: r, client: c, who: h.identify(r), origin: originOf(r), query: query}
}

func originOf(r *http.Request) string {
	if o := r.Header["Origin"]; len(o) > 0 {
		return o[0] // Guard lets no second one pass
	}
	return ""
}

// identify is who a session belongs to.
func (h *Handler) identify(r *http.Request) session.Identity {
	return polling.Identify(h.Session, r)
}

// key is what the opening of a HELLO is found by (§5.3).
func (a *ask) key(h *Handler, hello *wire.Hello) wire.Key {
	r := a.request
	return wire.KeyOf(hello, a.who, a.origin, h.Route+" "+r.Host+" "+proxy.EscapedPath(r.URL)+"?"+a.query)
}

// meet has the session that a HELLO opens.
func (h *Handler) meet(ctx context.Context, a *ask, hello *wire.Hello) (*client, *wire.Refused, error) {
	return h.lobby().meet(ctx, a.key(h, hello), func(ctx context.Context) (*client, *wire.Refused, bool) {
		c, err := h.open(ctx, a, hello)
		if err != nil {
			refusal := (*access.Refusal)(nil)
			return nil, h.refused(err), errors.As(err, &refusal) || errors.Is(err, session.ErrFull)
		}
		return c, nil, false
	})
}

func (h *Handler) lobby() *Lobby {
	if h.Lobby != nil {
		return h.Lobby
	}
	return &h.own
}

// open opens a session, which is counted until it ends.
func (h *Handler) open(ctx context.Context, a *ask, hello *wire.Hello) (*client, error) {
	release, err := h.Desk.Guard.Admit(a.client)
	if err != nil {
		return nil, err
	}
	if h.Sessions.Full() {
		release()
		return nil, session.ErrFull
	}
	c := &client{handler: h, id: session.NewID(h.Sessions.Owner), origin: a.origin, attempt: hello.Attempt, release: release}
	c.up.assembly.Limit = h.Message
	c.down.window = int64(hello.Window)
	link, err := h.dial(ctx, a, session.Public(c.id), hello.Protocols)
	if err != nil {
		release()
		return nil, err
	}
	if name := link.Header.Get("Sec-Websocket-Protocol"); slices.Contains(hello.Protocols, name) {
		c.protocol = name // or one that the operator had offered
	}
	c.backend = link
	s, err := h.Sessions.Open(session.Opening{
		ID: c.id, Identity: a.who, Settings: h.Session, Backend: link, Observer: h.Observer, Protocol: c, Ended: c.ended,
	})
	if err != nil {
		link.Drop()
		release()
		return nil, err
	}
	c.mu.Lock()
	c.session = s
	c.mu.Unlock()
	link.Start(s)
	h.enlist(c)
	return c, nil
}

// enlist has a drain find c, and c hear of one that there is.
func (h *Handler) enlist(c *client) {
	at := h.lobby().add(c)
	c.mu.Lock()
	over := c.over != 0
	c.mu.Unlock()
	switch {
	case over:
		h.lobby().remove(c) // as ended did, perhaps before
	case !at.IsZero():
		c.goAway(at)
	}
}

// dial asks the backend in the client's name.
func (h *Handler) dial(ctx context.Context, a *ask, public string, offers []string) (*proxy.Link, error) {
	if len(offers) == 0 {
		offers = h.Subprotocols
	}
	u := a.request.URL
	return h.Dialer.Dial(ctx, proxy.Ask{
		Request: a.request, Client: a.client, Session: public, Subprotocols: offers,
		Target: &url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: a.query},
	})
}

// refused is what a HELLO is told that opened nothing (§5.6).
func (h *Handler) refused(err error) *wire.Refused {
	refusal, refused, failure := (*access.Refusal)(nil), (*proxy.Refused)(nil), (*proxy.Failure)(nil)
	switch {
	case errors.As(err, &refusal):
		h.count(refusal)
		return &wire.Refused{Status: uint64(refusal.Status), Retry: milliseconds(refusal.RetryAfter), Text: refusal.Text}
	case errors.As(err, &refused):
		return &wire.Refused{Status: uint64(refused.Status), Retry: retryOf(refused.Header), Text: "the backend refused the handshake"}
	case errors.As(err, &failure):
		return &wire.Refused{Status: uint64(failure.Status), Text: "the backend cannot be reached"}
	case errors.Is(err, session.ErrFull):
		h.count(&access.Refusal{Reason: "memory"})
		return &wire.Refused{Status: http.StatusServiceUnavailable, Retry: 1000, Text: "sessions hold as much as they may (session_memory.limit)"}
	}
	return &wire.Refused{Status: http.StatusServiceUnavailable, Retry: 1000, Text: "the server is going away"}
}

// count counts a refusal of ours.
func (h *Handler) count(r *access.Refusal) {
	if o := h.Dialer.Observer; o != nil && r.Reason != "" {
		o.Refused(r.Reason)
	}
}

// retryOf is a Retry-After in seconds, as milliseconds of at most an hour.
func retryOf(h http.Header) uint64 {
	n, err := strconv.ParseUint(h.Get("Retry-After"), 10, 32)
	if err != nil {
		return 0
	}
	return min(n, uint64(time.Hour/time.Second)) * 1000
}

// refusal is a REFUSED as it is sent.
func refusal(r *wire.Refused) []byte {
	b, err := r.Append(nil)
	if err != nil { // a text that may not be sent
		b, _ = (&wire.Refused{Status: max(200, min(r.Status, 599)), Retry: r.Retry}).Append(nil)
	}
	return b
}

// gone appends a GONE.
func gone(dst []byte, reason string) []byte {
	b, err := (&wire.Gone{Reason: reason}).Append(dst)
	if err != nil { // reasons are ours
		panic(err)
	}
	return b
}
