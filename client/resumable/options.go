package resumable

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sidecar/protocol/resume/wire"
)

// A Transport is a way to reach a server.
type Transport string

// The transports. Plain is a WebSocket to a server that is no sidecar, None is the time
// between two carriers.
const (
	WebSocket Transport = "websocket"
	Stream    Transport = "stream"
	Poll      Transport = "poll"
	Plain     Transport = "plain"
	None      Transport = ""
)

// Options are what Dial may be told. Zero values, and a nil *Options, are defaults. Dial
// copies what it is given, but for HTTPClient and Memory, which may be shared.
type Options struct {
	// Subprotocols are offered to the backend, the favourite first: at most 32 tokens
	// of RFC 9110, all of them about 8 KiB at most.
	// None may begin with "sidecar.".
	Subprotocols []string
	// Header goes with each handshake and request: cookies, Authorization, Origin.
	Header http.Header
	// HTTPClient makes the requests of streams and polls, and its Jar serves WebSockets
	// too. Its Timeout is not used, and redirects are not followed. Its connections are
	// left to it: over HTTP/2 it should find out by itself that one died in silence
	// (http.HTTP2Config.SendPingTimeout). Default: one of the connection's own, made of
	// DialContext, TLS and Proxy.
	HTTPClient *http.Client
	// DialContext opens network connections. Default: a net.Dialer.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is for wss and https URLs. Default: the system's roots.
	TLS *tls.Config
	// Proxy says which proxy to use. Default: http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)
	// Transports that may be used, of WebSocket, Stream and Poll. Default: all.
	Transports []Transport
	// Memory is what was learnt of networks. Programs that dial often share one
	// among all Dials. Default: one for the connection.
	Memory *Memory

	// Window is how many bytes may come before they are read, each message counted
	// with 64 more; one message beyond is kept at most. From 4 KiB to 1 GiB; default
	// 256 KiB. The other direction has the server's window, of which at most 16 MiB
	// are used, or this many if they are more.
	Window int
	// MaxMessage is the most bytes of a message from the backend; a larger one ends
	// the session with 1009. Default 16 MiB.
	MaxMessage int
	// OpenTimeout bounds the opening, beside Dial's context. Default 20 s.
	OpenTimeout time.Duration
	// CloseTimeout is how long Close waits for the server's CLOSE. Default 5 s.
	CloseTimeout time.Duration
	// MinBackoff and MaxBackoff bound the random time before a try to reconnect: from
	// 0 to MinBackoff, doubling up to MaxBackoff. Defaults 500 ms and 20 s (§11.3).
	// The first try is at once, and so are three behind carriers that were cut within
	// 1 s of their WELCOME.
	MinBackoff, MaxBackoff time.Duration
	// OnTransport is told each change of the transport that messages come by, and
	// what ended the one before, one call after the other. It must return soon, and
	// must not call Close or CloseNow.
	OnTransport func(now Transport, why error)
}

// filled is o with its defaults, checked.
func (o *Options) filled() (Options, error) {
	var f Options
	if o != nil {
		f = *o
	}
	fill(&f.Window, 256<<10)
	fill(&f.MaxMessage, 16<<20)
	fill(&f.OpenTimeout, 20*time.Second)
	fill(&f.CloseTimeout, 5*time.Second)
	fill(&f.MinBackoff, 500*time.Millisecond)
	fill(&f.MaxBackoff, 20*time.Second)
	if f.DialContext == nil {
		f.DialContext = (&net.Dialer{}).DialContext
	}
	if f.Proxy == nil {
		f.Proxy = http.ProxyFromEnvironment
	}
	if f.Memory == nil {
		f.Memory = &Memory{}
	}
	if len(f.Transports) == 0 {
		f.Transports = []Transport{WebSocket, Stream, Poll}
	}
	f.Header, f.TLS = f.Header.Clone(), f.TLS.Clone()
	f.Subprotocols, f.Transports = slices.Clone(f.Subprotocols), slices.Clone(f.Transports)
	return f, f.fault()
}

func fill[T int | time.Duration](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

func (o *Options) fault() error {
	if o.Window < 4<<10 || o.Window > 1<<30 {
		return fmt.Errorf("window of %d bytes: must be from 4096 to 2^30", o.Window)
	}
	if o.MaxMessage < 0 || min(o.OpenTimeout, o.CloseTimeout, o.MinBackoff, o.MaxBackoff) < 0 {
		return errors.New("options must not be negative")
	}
	for _, t := range o.Transports {
		if t != WebSocket && t != Stream && t != Poll {
			return fmt.Errorf("transport %q: must be %q, %q or %q", t, WebSocket, Stream, Poll)
		}
	}
	for i, p := range o.Subprotocols {
		if strings.HasPrefix(p, wire.Reserved) || slices.Contains(o.Subprotocols[:i], p) {
			return fmt.Errorf("subprotocol %q: is reserved, or there twice", p)
		}
	}
	h := wire.Hello{Version: 1, Attempt: wire.NewAttempt(), Generation: 1, Window: 4 << 10, Protocols: o.Subprotocols, Position: wire.Position{Lowest: 1}}
	if _, err := h.Append(nil); err != nil {
		return fmt.Errorf("subprotocol: %w", err)
	}
	for name := range o.Header {
		if k := http.CanonicalHeaderKey(name); strings.HasPrefix(k, "Sec-Websocket-") || slices.Contains(ours, k) {
			return fmt.Errorf("header %q: is the connection's own", name)
		}
	}
	return nil
}

// ours are the headers that cannot be told.
var ours = []string{"Connection", "Upgrade", "Content-Type", "Content-Length", "Content-Encoding"}

// addresses are the URLs for WebSockets and for requests.
func addresses(raw string) (ws, post *url.URL, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the address: %w", err)
	}
	schemes := map[string][2]string{"ws": {"ws", "http"}, "http": {"ws", "http"}, "wss": {"wss", "https"}, "https": {"wss", "https"}}
	pair, ok := schemes[u.Scheme]
	if !ok || u.Host == "" || u.User != nil {
		return nil, nil, fmt.Errorf("address with scheme %q and host %q: must be ws, wss, http or https, with a host and no user", u.Scheme, u.Host)
	}
	u.Fragment, u.RawFragment = "", ""
	if u.Path == "" {
		u.Path = "/"
	}
	a, b := *u, *u
	a.Scheme, b.Scheme = pair[0], pair[1]
	return &a, &b, nil
}

// request makes a POST of this kind.
func (c *Conn) request(ctx context.Context, kind wire.Kind, body []byte) (*http.Request, error) {
	u := *c.post
	u.RawQuery = wire.AddKind(u.RawQuery, kind)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytesReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range c.o.Header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	if host := c.o.Header.Get("Host"); host != "" {
		r.Host = host
	}
	r.Header.Set("Content-Type", wire.RequestType)
	return r, nil
}
