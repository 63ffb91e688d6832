package proxy

import (
	"context"
	"errors"
	"io"
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
// refused with 400, and CONNECT with 405. The Origin check does not apply: these requests are the
// backend's own affair, as they would be without us. Its fields are not to be
// changed once it has served.
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
	switch {
	case r.Method == http.MethodConnect:
		// Its body, read as requests by the next parser, would be requests that
		// nobody checked.
		w.Header().Set("Connection", "close")
		http.Error(w, "CONNECT is not served here", http.StatusMethodNotAllowed)
		return
	case r.URL.IsAbs() || r.URL.Host != "", !strings.HasPrefix(r.RequestURI, "/"):
		w.Header().Set("Connection", "close")
		http.Error(w, "the request target must be a path", http.StatusBadRequest)
		return
	case r.Header.Get("Upgrade") != "":
		// ReverseProxy would forward it, and make a tunnel of a 101 to h2c.
		w.Header().Set("Connection", "close")
		http.Error(w, "only upgrades to websocket are served here", http.StatusBadRequest)
		return
	}
	h.once.Do(h.build)
	limits := h.Limits.orDefault()
	rc := http.NewResponseController(w)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &pacedBody{ReadCloser: r.Body, rc: rc, start: time.Now(), grace: limits.WriteTimeout}
	}
	r = r.WithContext(context.WithValue(r.Context(), dialLimit{}, limits.DialTimeout))
	h.proxy.ServeHTTP(&pacedWriter{ResponseWriter: w, rc: rc, limit: limits.WriteTimeout}, r)
}

func (h *HTTP) build() {
	h.proxy = &httputil.ReverseProxy{
		Rewrite:       h.rewrite,
		Transport:     h.Backend.transport,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(h.log().Handler(), slog.LevelDebug),
		ErrorHandler:  h.fail,
		BufferPool:    buffers{},
		ModifyResponse: func(res *http.Response) error {
			if res.StatusCode == http.StatusSwitchingProtocols {
				return errors.New("backend switched protocols unasked")
			}
			return nil
		},
	}
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
	out.Host = in.Host
	for _, name := range hopByHop {
		out.Header.Del(name)
	}
	dropSession(out.Header)
	h.Proxies.Client(in).SetForwarded(out.Header)
	if _, sent := in.Header["User-Agent"]; !sent {
		out.Header.Set("User-Agent", "") // or net/http would send its own
	}
}

// fail answers for a backend that did not.
func (h *HTTP) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the client has gone; there is nobody to tell
	}
	if isTimeout(err) && errors.Is(err, errSlowBody) {
		http.Error(w, "the request body came too slowly", http.StatusRequestTimeout)
		return
	}
	_, status := outcome(err)
	h.log().Warn("backend cannot be reached", "route", h.Route, "err", err)
	http.Error(w, "the backend cannot be reached", status)
}

func (h *HTTP) log() *slog.Logger {
	if h.Log != nil {
		return h.Log
	}
	return slog.Default()
}

var errSlowBody = errors.New("request body came too slowly")

// A pacedBody ends a request whose body comes slower than minRate, after grace:
// whoever sends a byte now and then would hold two connections for ever.
type pacedBody struct {
	io.ReadCloser
	rc    *http.ResponseController
	start time.Time
	grace time.Duration
	read  int64
}

func (b *pacedBody) Read(p []byte) (int, error) {
	// Fails only where the server cannot do it; then its own limits hold.
	b.rc.SetReadDeadline(b.start.Add(b.grace + time.Duration(b.read/minRate)*time.Second))
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	switch {
	case err == nil:
	case isTimeout(err):
		err = errors.Join(errSlowBody, err)
	default:
		b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// A pacedWriter ends an answer that its client does not take.
type pacedWriter struct {
	http.ResponseWriter
	rc    *http.ResponseController
	limit time.Duration
}

func (w *pacedWriter) Write(p []byte) (int, error) {
	w.rc.SetWriteDeadline(time.Now().Add(w.limit))
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Buffers lends the relay's buffers to ReverseProxy.
type buffers struct{}

func (buffers) Get() []byte  { return *chunks.Get().(*[]byte) }
func (buffers) Put(b []byte) { chunks.Put(&b) }
