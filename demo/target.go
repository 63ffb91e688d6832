package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// maxAnswer is how much of an HTTP answer or a message a check looks at.
const maxAnswer = 4 << 20

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// A target is what the checks connect to.
type target struct {
	base string // http://host:port
	host string
	dial dialFunc
	http *http.Client
}

// newTarget takes an origin: scheme, host and port, and nothing more.
func newTarget(base string, dial dialFunc) (*target, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the address: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "":
		return nil, fmt.Errorf("reading the address: %q is not http://host:port", base)
	}
	t := &target{base: u.Scheme + "://" + u.Host, host: u.Host, dial: dial}
	// No proxy of the environment's: what is checked is the connection to base.
	t.http = &http.Client{Transport: &http.Transport{DialContext: dial}}
	return t, nil
}

func (t *target) close() { t.http.CloseIdleConnections() }

// get answers with the head; the caller closes the body.
func (t *target) get(ctx context.Context, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.base+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := t.http.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("GET %s: status %d", path, resp.StatusCode)
	}
	return resp, nil
}

// An offer is what a handshake asks for besides its path.
type offer struct {
	origin       string // "": the one of a page at base
	deflate      bool
	subprotocols []string
}

// A client is one WebSocket of a check. It ends with the check's context.
type client struct {
	*websocket.Conn
	head http.Header // of the answer to the handshake
	stop func() bool
}

// open connects to path. A refusal is a *refusal.
func (t *target) open(ctx context.Context, path string, o offer) (*client, error) {
	d := websocket.Dialer{NetDialContext: t.dial, EnableCompression: o.deflate, Subprotocols: o.subprotocols}
	if o.origin == "" {
		o.origin = t.base
	}
	conn, resp, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(t.base, "http")+path, http.Header{"Origin": {o.origin}})
	if errors.Is(err, websocket.ErrBadHandshake) {
		// The library has put up to 1 KiB of the body there.
		body, _ := io.ReadAll(resp.Body) // from memory
		return nil, &refusal{status: resp.StatusCode, body: strings.TrimSpace(string(body))}
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	conn.SetReadLimit(maxAnswer)
	return &client{conn, resp.Header, context.AfterFunc(ctx, func() { conn.Close() })}, nil
}

// A refusal is a handshake's answer other than 101.
type refusal struct {
	status int
	body   string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("handshake refused with %d %q", r.status, r.body)
}

// end says goodbye, for the sake of the logs, and hangs up. A check is about what
// came before, so it does not wait for an answer.
func (c *client) end() {
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = c.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second))
	c.stop()
	c.Close()
}

// echo sends p and wants it back.
func (c *client) echo(kind int, p []byte) error {
	if err := c.WriteMessage(kind, p); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	return c.expect(kind, p)
}

// expect reads one message and wants it to be p.
func (c *client) expect(kind int, p []byte) error {
	k, got, err := c.ReadMessage()
	switch {
	case err != nil:
		return fmt.Errorf("receiving: %w", err)
	case k != kind:
		return fmt.Errorf("got a message of kind %d; want %d", k, kind)
	case !bytes.Equal(got, p):
		return fmt.Errorf("got %s; want %s", brief(got), brief(p))
	}
	return nil
}

// decode reads one message of JSON.
func (c *client) decode(v any) error {
	_, p, err := c.ReadMessage()
	if err != nil {
		return fmt.Errorf("receiving: %w", err)
	}
	if err := json.Unmarshal(p, v); err != nil {
		return fmt.Errorf("reading %s: %w", brief(p), err)
	}
	return nil
}

// brief quotes a message for the table: one short line, whatever is in it.
func brief(p []byte) string {
	if len(p) <= 40 {
		return fmt.Sprintf("%q", p)
	}
	return fmt.Sprintf("%q… (%d bytes)", p[:40], len(p))
}
