package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"sidecar/access"
)

// HTTP passes a route's plain HTTP requests through to the backend, streaming
// both ways. Upgrades to anything at all and request targets that are no path are
// refused with 400, and CONNECT with 405. The Origin check does not apply: these
// requests are the backend's own affair, as they would be without us. Its fields
// are not to be changed once it has served.
//
// Limits.DialTimeout bounds the dial only, since an answer may be long in coming.
// Limits.WriteTimeout ends an answer that its client does not take, and a request
// whose body comes slower than 1 KiB/s after a start of that long (408). Trailers
// of requests are dropped (RFC 9110 §6.5.1): a backend that reads them as headers
// would believe a stranger's X-Forwarded-For.
type HTTP struct {
	Route   string
	Backend *Backend
	Proxies access.Proxies
	Limits  Limits
	Log     *slog.Logger // nil: slog.Default()

	once  sync.Once
	proxy *httputil.ReverseProxy
}

// ServeHTTP passes one request through.
func (h *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if bad := checkPlain(r); bad != nil {
		w.Header().Set("Connection", "close")
		http.Error(w, bad.text, bad.status)
		return
	}
	h.once.Do(h.build)
	limits := h.Limits.orDefault()
	rc := http.NewResponseController(w)
	ctx := context.WithValue(r.Context(), dialLimit{}, limits.DialTimeout)
	body := &pacedBody{ReadCloser: r.Body, rc: rc, start: time.Now(), grace: limits.WriteTimeout}
	r = r.WithContext(context.WithValue(ctx, theBody{}, body))
	if r.Body != nil && r.Body != http.NoBody {
		// Or net/http would eat of the body once the answer begins.
		_ = rc.EnableFullDuplex() // fails only where it is so anyway
		r.Body = body
	}
	paced := &pacedWriter{ResponseWriter: w, rc: rc, limit: limits.WriteTimeout, lift: r.ProtoMajor == 2}
	h.proxy.ServeHTTP(paced, r)
	paced.renew() // net/http has the end of the answer still to write
}

// checkPlain is what is wrong with a request that is to be passed through.
func checkPlain(r *http.Request) *refusal {
	_, upgrade := r.Header["Upgrade"]
	switch {
	case r.Method == http.MethodConnect:
		// Its body, read as requests by the next parser, would be requests that
		// nobody checked.
		return &refusal{http.StatusMethodNotAllowed, "CONNECT is not served here"}
	case r.URL.IsAbs() || r.URL.Host != "" || !strings.HasPrefix(r.RequestURI, "/"):
		return &refusal{http.StatusBadRequest, "the request target must be a path"}
	case upgrade:
		// ReverseProxy would forward it, and make a tunnel of a 101 to h2c.
		return &refusal{http.StatusBadRequest, "only upgrades to websocket are served here"}
	}
	return nil
}

func (h *HTTP) build() {
	h.proxy = &httputil.ReverseProxy{
		Rewrite:        h.rewrite,
		Transport:      h.Backend.transport,
		FlushInterval:  -1,
		ErrorLog:       slog.NewLogLogger(h.log().Handler(), slog.LevelDebug),
		ErrorHandler:   h.fail,
		BufferPool:     buffers{},
		ModifyResponse: checkAnswer,
	}
}

// checkAnswer refuses what would be a tunnel, or a panic of net/http.
func checkAnswer(res *http.Response) error {
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols:
		return errors.New("backend switched protocols unasked")
	case res.StatusCode < 100:
		return fmt.Errorf("backend answered with status %q", res.Status)
	}
	return nil
}

// rewrite makes the client's request the backend's. ReverseProxy has stripped
// hop-by-hop headers by now, so that a client cannot strip what is set here.
func (h *HTTP) rewrite(p *httputil.ProxyRequest) {
	in, out := p.In, p.Out
	out.URL.Scheme, out.URL.Host = "http", h.Backend.host
	if h.Backend.Secure() {
		out.URL.Scheme = "https"
	}
	path := h.Backend.pathFor(in.URL)
	if plain, err := url.PathUnescape(path); err == nil {
		out.URL.Path, out.URL.RawPath = plain, path
	}
	out.URL.RawQuery, out.URL.ForceQuery = in.URL.RawQuery, in.URL.ForceQuery
	out.Trailer = nil
	for _, name := range hopByHop {
		out.Header.Del(name)
	}
	dropSession(out.Header)
	h.Proxies.Client(in).SetForwarded(out.Header)
}

// fail answers for a backend that did not.
func (h *HTTP) fail(w http.ResponseWriter, r *http.Request, err error) {
	// Over HTTP/1.1 net/http takes the end of the body's time for the client's
	// leaving; over HTTP/2 it is an error of the body, and not the backend's either.
	if b, ok := r.Context().Value(theBody{}).(*pacedBody); ok && b.late() {
		w.Header().Set("Connection", "close")
		http.Error(w, "the request body came too slowly", http.StatusRequestTimeout)
		return
	}
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the client has gone; there is nobody to tell
	}
	_, status := outcome(err)
	h.Backend.complain(h.log(), "backend cannot be reached", h.Route, err)
	http.Error(w, "the backend cannot be reached", status)
}

func (h *HTTP) log() *slog.Logger {
	if h.Log != nil {
		return h.Log
	}
	return slog.Default()
}

// Buffers lends the relay's buffers to ReverseProxy.
type buffers struct{}

func (buffers) Get() []byte  { return *chunks.Get().(*[]byte) }
func (buffers) Put(b []byte) { chunks.Put(&b) }
