package proxy

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"sidecar/access"
	"sidecar/heartbeat"
	"sidecar/loop"
)

// A Dialer opens the backend connections of a route's sessions.
type Dialer struct {
	Route     string // the operator's name for the route, in logs
	Backend   *Backend
	Heartbeat heartbeat.Policy // zero: none
	Limits    Limits           // zero fields mean the defaults
	Live      *Live            // where connections are found by a drain; not nil
	Observer  Observer         // nil: nobody
	Log       *slog.Logger     // nil: slog.Default()
	Loops     *loop.Group      // as of Carriers

	once  sync.Once
	terms *hopTerms
}

// An Ask is what is asked of a backend for a session.
type Ask struct {
	// Request is the client's that opens the session, a handshake or not.
	Request *http.Request
	Client  access.Client
	// Target's path, which begins with a slash, and query are asked for in place of
	// the request's own. Nil: those, a protocol's own parameters among them.
	Target *url.URL
	// Subprotocols are offered to the backend, the favourite first.
	Subprotocols []string
	// Session is the session's public name.
	Session string
}

// A Refused is a backend's answer to a handshake, other than yes.
type Refused struct {
	Status int
	Header http.Header // without what concerns our connection only
	Body   []byte      // whole, at most 1 MiB
}

func (r *Refused) Error() string { return fmt.Sprintf("backend refused with status %d", r.Status) }

// ServeHTTP passes the refusal on to the client.
func (r *Refused) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	for key, values := range r.Header {
		w.Header()[key] = values
	}
	leaveType(w.Header())
	w.WriteHeader(r.Status)
	w.Write(r.Body)
}

// A Failure is a backend that could not be reached, or that made no sense.
type Failure struct {
	Status int // for the client: 502, 503 with descriptors used up, or 504
	Err    error
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// ServeHTTP tells the client, and not why.
func (f *Failure) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if f.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, "the backend cannot be reached", f.Status)
}

// Dial asks the backend as a WebSocket client of its own would, in the client's
// name. It gives up after Limits.DialTimeout, and when ctx ends. No extension is
// offered: a session keeps messages as they are, and may send them again. The error
// is a *Refused or a *Failure, both of which can answer the client, or ctx's cause.
// The Link must be started or dropped.
func (d *Dialer) Dial(ctx context.Context, a Ask) (*Link, error) {
	d.once.Do(func() { d.terms = newTerms(backend, d.Heartbeat, d.Limits, d.Observer).on(d.Loops) })
	raw := &Raw{Route: d.Route, Backend: d.Backend, Heartbeat: d.Heartbeat, Limits: d.Limits, Observer: d.Observer, Log: d.Log}
	start := time.Now()
	r := a.handshake(ctx)
	answer, err := raw.ask(r, a.Subprotocols, a.Client, a.Session, start.Add(raw.limits().DialTimeout))
	took := time.Since(start)
	if err != nil {
		return nil, raw.unreached(ctx, err, took)
	}
	defer answer.done()
	if answer.StatusCode != http.StatusSwitchingProtocols {
		raw.observer().Dialed("refused", took)
		return nil, refused(answer)
	}
	if _, err := checkSwitch(r, a.Subprotocols, answer.Header); err != nil {
		raw.observer().Dialed("invalid", took)
		raw.warn("backend's handshake is invalid", err)
		return nil, &Failure{http.StatusBadGateway, err}
	}
	raw.observer().Dialed("ok", took)
	return d.link(answer)
}

// link makes a Link of a backend's yes.
func (d *Dialer) link(a *answer) (*Link, error) {
	l := &Link{Header: a.Header, live: d.Live}
	strip(l.Header)
	l.hop.init(a.conn, d.terms)
	if err := l.hop.adopt(); err != nil {
		return nil, &Failure{http.StatusBadGateway, err}
	}
	a.kept = true
	if n := a.buf.Buffered(); n > 0 {
		l.early = make([]byte, n)
		io.ReadFull(a.buf, l.early) // cannot fail: they are in the buffer
	}
	return l, nil
}

// unreached is the error for a client whose backend gave no answer.
func (h *Raw) unreached(ctx context.Context, err error, took time.Duration) error {
	if ctx.Err() != nil {
		h.observer().Dialed("canceled", took)
		return err
	}
	name, status := outcome(err)
	h.observer().Dialed(name, took)
	h.warn("backend cannot be reached", err)
	return &Failure{status, err}
}

// refused reads the body of a refusal, for which the handshake's time is there.
func refused(a *answer) error {
	strip(a.Header)
	a.head.N = maxRefusal
	body, err := io.ReadAll(io.LimitReader(a.Body, maxRefusal))
	if err != nil || len(body) == maxRefusal {
		return &Failure{http.StatusBadGateway, fmt.Errorf("reading backend's refusal, status %d: body is not whole", a.StatusCode)}
	}
	a.Header.Del("Content-Length") // that of the body that we read
	return &Refused{a.StatusCode, a.Header, body}
}

// handshake is the request as a WebSocket client would have made it.
func (a Ask) handshake(ctx context.Context) *http.Request {
	r := &http.Request{Method: http.MethodGet, Host: a.Request.Host, URL: a.Request.URL, Header: make(http.Header, len(a.Request.Header))}
	if a.Target != nil {
		r.URL = &url.URL{Path: a.Target.Path, RawPath: a.Target.RawPath, RawQuery: inLine(a.Target.RawQuery)}
	}
	for name, values := range a.Request.Header {
		if !strings.HasPrefix(name, "Sec-Websocket-") && !isOfFetching(name) {
			r.Header[name] = values
		}
	}
	if a.Client.Scheme != "" && len(r.Header["Origin"]) == 0 && isJust(r.Header["Sec-Fetch-Site"], "same-origin") {
		// A browser names no Origin in a GET to its own, but always in a handshake.
		r.Header["Origin"] = []string{a.Client.Scheme + "://" + a.Client.Host}
	}
	var key [16]byte
	rand.Read(key[:]) // never fails (crypto/rand)
	r.Header["Sec-Websocket-Key"] = []string{base64.StdEncoding.EncodeToString(key[:])}
	return r.WithContext(ctx)
}

// inLine is a query without what would end it in a request line: net/url lets blanks
// pass, and a protocol's client may have named it elsewhere than in one.
func inLine(query string) string {
	var b strings.Builder
	for _, c := range []byte(query) {
		if c <= ' ' || c == 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// isOfFetching knows headers of a request with a body or an answer with one, which
// no handshake has.
func isOfFetching(name string) bool {
	switch name {
	case "Accept", "Range", "If-Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since":
		return true
	}
	return strings.HasPrefix(name, "Content-")
}
