package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

// A Backend is an Upstream made ready: its files read, its address known. It is
// safe for concurrent use.
type Backend struct {
	network, addr string
	literal       bool        // addr is no name
	tls           *tls.Config // nil: in clear
	prefix, path  string      // path, if set, takes prefix's place
	host          string      // for what is asked in nobody's name
	transport     *http.Transport

	mu         sync.Mutex // guards what follows
	complained time.Time
	unsaid     int // complaints since then
}

// complain logs that the backend does not work, at most once a second and with
// how often that was left unsaid: what strangers ask of a dead backend could fill
// a disk. The metrics count all.
func (b *Backend) complain(log *slog.Logger, what, route string, err error) {
	b.mu.Lock()
	if time.Since(b.complained) < time.Second {
		b.unsaid++
		b.mu.Unlock()
		return
	}
	unsaid := b.unsaid
	b.complained, b.unsaid = time.Now(), 0
	b.mu.Unlock()
	log.Warn(what, "route", route, "err", err, "unsaid", unsaid)
}

// NewBackend reads the files that u names. prefix is the route's path, whose
// place a path in u.URL takes. Call Close when no route uses it any more.
func NewBackend(u Upstream, prefix string) (*Backend, error) {
	if err := u.Validate(); err != nil {
		return nil, err
	}
	if u.URL == "" {
		u.URL = "ws://localhost"
	}
	target, err := url.Parse(u.URL)
	if err != nil {
		return nil, err
	}
	b := &Backend{network: "tcp", prefix: strings.TrimSuffix(prefix, "/"), path: target.EscapedPath(), host: target.Host}
	secure := target.Scheme == "wss" || target.Scheme == "https"
	b.addr = net.JoinHostPort(target.Hostname(), portOf(target, secure))
	if u.Socket != "" {
		b.network, b.addr = "unix", u.Socket
	} else {
		_, err := netip.ParseAddrPort(b.addr)
		b.literal = err == nil
	}
	if secure {
		if b.tls, err = clientTLS(u, target.Hostname()); err != nil {
			return nil, err
		}
	}
	b.transport = newTransport(b)
	return b, nil
}

func portOf(u *url.URL, secure bool) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case secure:
		return "443"
	}
	return "80"
}

// Secure reports whether the backend is reached by TLS.
func (b *Backend) Secure() bool { return b.tls != nil }

// Replaces reports whether the backend's path takes the place of the route's.
func (b *Backend) Replaces() bool { return b.path != "" }

// target is the request target for a client's, in the form in which it came.
func (b *Backend) target(u *url.URL) string {
	path := b.pathFor(u)
	if u.RawQuery != "" || u.ForceQuery {
		path += "?" + u.RawQuery
	}
	return path
}

// pathFor is the path of a client's request, escaped, as the backend gets it.
func (b *Backend) pathFor(u *url.URL) string {
	path := EscapedPath(u)
	if !b.Replaces() {
		return path
	}
	rest, ok := strings.CutPrefix(path, b.prefix)
	if !ok || rest != "" && rest[0] != '/' {
		rest = strings.TrimPrefix(u.EscapedPath(), b.prefix) // what a route was found by
	}
	if rest == "" {
		return b.path
	}
	return strings.TrimSuffix(b.path, "/") + rest
}

// EscapedPath is u's path as the client wrote it, but that each byte which may
// stand in no path (RFC 3986 §3.3) is escaped. The method of url.URL writes the
// whole path anew where there is one, and so makes a slash of a %2f beside it.
func EscapedPath(u *url.URL) string {
	if path := u.EscapedPath(); u.RawPath == "" || path == u.RawPath {
		return path
	}
	var b strings.Builder
	for _, c := range []byte(u.RawPath) {
		if mayStandInPath(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// mayStandInPath holds the percent sign too, which a parsed path has in escapes
// only, and brackets, which net/url lets pass.
func mayStandInPath(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte("-._~!$&'()*+,;=:@/%[]", c) >= 0
}

// Check dials the backend and hangs up: for readiness.
func (b *Backend) Check(ctx context.Context) error {
	c, err := b.dial(ctx)
	if err != nil {
		return fmt.Errorf("dialing backend: %w", err)
	}
	return c.Close()
}

// Close drops the idle connections that pass-through keeps. Connections in use
// are not touched.
func (b *Backend) Close() { b.transport.CloseIdleConnections() }

// Idle connections kept for pass-through, to each backend.
const (
	maxIdle     = 8 // few: they come out of the descriptors in reserve
	idleTimeout = 60 * time.Second
)

// dialLimit is the key of how long dialling may take for a request: a deadline
// of its context would bound the answer too.
type dialLimit struct{}

// newTransport is how pass-through reaches b. It asks for no compression, so
// that bodies pass as they are, and follows nothing.
func newTransport(b *Backend) *http.Transport {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		if limit, ok := ctx.Value(dialLimit{}).(time.Duration); ok {
			var cancel func()
			ctx, cancel = context.WithTimeout(ctx, limit)
			defer cancel()
		}
		return b.dial(ctx)
	}
	return &http.Transport{
		DialContext:            dial,
		DialTLSContext:         dial,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxAnswerHead,
		ExpectContinueTimeout:  time.Second,
	}
}

// isTimeout reports whether err is somebody's time being up, the kernel's included.
func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// outcome names what a failed dial was, for metrics, and the status that the
// client is told.
func outcome(err error) (name string, status int) {
	switch {
	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		return "timeout", http.StatusGatewayTimeout
	case outOfDescriptors(err):
		return "error", http.StatusServiceUnavailable
	}
	return "error", http.StatusBadGateway
}
