package engineio

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A client speaks Engine.IO as raw as a test wants it.
type client struct {
	t      *testing.T
	r      *rig
	http   *http.Client
	header http.Header
	sid    string
}

func (r *rig) client() *client {
	t := &http.Transport{MaxIdleConnsPerHost: 4}
	r.t.Cleanup(t.CloseIdleConnections)
	return &client{t: r.t, r: r, http: &http.Client{Transport: t, Timeout: patience}, header: http.Header{}}
}

// polling is a client that has shaken hands by polling.
func (r *rig) polling() *client {
	r.t.Helper()
	c := r.client()
	c.open()
	return c
}

// An answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// do makes a request whose query is the protocol's and what else is given.
func (c *client) do(ctx context.Context, method, query, body string, change ...func(*http.Request)) (answer, error) {
	var b io.Reader
	if body != "" {
		b = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.r.URL+"/app/engine.io/?"+query, b)
	if err != nil {
		c.t.Fatal(err)
	}
	for name, values := range c.header {
		r.Header[name] = values
	}
	if body != "" {
		r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	for _, f := range change {
		f(r)
	}
	res, err := c.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(all)}, err
}

func (c *client) ask(method, query, body string, change ...func(*http.Request)) answer {
	c.t.Helper()
	a, err := c.do(c.t.Context(), method, query, body, change...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, query, err)
	}
	return a
}

const polls = "EIO=4&transport=polling"

func (c *client) open() {
	c.t.Helper()
	a := c.ask("GET", polls, "")
	if a.status != 200 || !strings.HasPrefix(a.body, "0{") {
		c.t.Fatalf("handshake got %d %q; want 200 and an open packet", a.status, a.body)
	}
	c.hear(a.body)
}

// hear takes the sid from an open packet.
func (c *client) hear(packet string) {
	c.t.Helper()
	var o struct{ Sid string }
	if err := json.Unmarshal([]byte(packet[1:]), &o); err != nil || o.Sid == "" {
		c.t.Fatalf("open packet is %q (%v)", packet, err)
	}
	c.sid = o.Sid
}

func (c *client) query() string { return polls + "&sid=" + url.QueryEscape(c.sid) }

func (c *client) get() answer { c.t.Helper(); return c.ask("GET", c.query(), "") }

func (c *client) post(body string) answer { c.t.Helper(); return c.ask("POST", c.query(), body) }

func (c *client) wantGet(body string) {
	c.t.Helper()
	if a := c.get(); a.status != 200 || a.body != body {
		c.t.Fatalf("poll got %d %q; want 200 %q", a.status, clip(a.body), clip(body))
	}
}

func (c *client) wantPost(body string) {
	c.t.Helper()
	if a := c.post(body); a.status != 200 || a.body != "ok" {
		c.t.Fatalf("POST of %q got %d %q; want 200 ok", clip(body), a.status, clip(a.body))
	}
}

// wantUnknown polls, to be told that there is no such session.
func (c *client) wantUnknown() {
	c.t.Helper()
	c.wantFault(c.get(), 400, 1)
}

func (c *client) wantFault(a answer, status, code int) {
	c.t.Helper()
	var f struct {
		Code    int
		Message string
	}
	if err := json.Unmarshal([]byte(a.body), &f); err != nil || a.status != status || f.Code != code || f.Message == "" {
		c.t.Fatalf("got %d %q (%v); want %d and code %d with a message", a.status, a.body, err, status, code)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		c.t.Errorf("Content-Type of a refusal is %q; want application/json", got)
	}
}

// begun polls, and returns once the poll is open, or was: beside a probe a noop ends it
// soon. What it gets comes by the channel.
func (c *client) begun() <-chan answer {
	c.t.Helper()
	done := make(chan answer, 1)
	go func() {
		a, err := c.do(c.t.Context(), "GET", c.query(), "")
		if err != nil {
			a.body = err.Error()
		}
		done <- a
	}()
	e := c.engine()
	eventually(c.t, "a poll is open or answered", true, func() bool { return len(done) > 0 || e.polls() })
	return done
}

func (c *client) wantOpen() {
	c.t.Helper()
	eventually(c.t, "a poll is open", true, c.engine().polls)
}

// polls reports whether a poll is open.
func (e *engine) polls() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.poll != nil
}

func (c *client) engine() *engine {
	c.t.Helper()
	e := c.r.h.find(c.sid, c.r.h.identify(&http.Request{Header: c.header}))
	if e == nil {
		c.t.Fatal("there is no such session")
	}
	return e
}

func (c *client) got(done <-chan answer) answer {
	c.t.Helper()
	select {
	case a := <-done:
		return a
	case <-time.After(patience):
		c.t.Fatal("the poll was not answered")
		return answer{}
	}
}

func (c *client) wantGot(done <-chan answer, body string) {
	c.t.Helper()
	if a := c.got(done); a.status != 200 || a.body != body {
		c.t.Fatalf("poll got %d %q; want 200 %q", a.status, clip(a.body), clip(body))
	}
}

// dial opens a WebSocket.
func (c *client) dial(query string, protocols ...string) (*peer, *http.Response, error) {
	d := websocket.Dialer{Subprotocols: protocols, HandshakeTimeout: patience}
	ws, res, err := d.DialContext(c.t.Context(), "ws"+strings.TrimPrefix(c.r.URL, "http")+"/app/engine.io/?"+query, c.header)
	if err != nil {
		return nil, res, err
	}
	c.t.Cleanup(func() { ws.Close() })
	return &peer{c.t, ws, patience}, res, nil
}

const sockets = "EIO=4&transport=websocket"

func (c *client) mustDial(query string) *peer {
	c.t.Helper()
	p, _, err := c.dial(query)
	if err != nil {
		c.t.Fatalf("opening a WebSocket: %v", err)
	}
	return p
}

// upgrading is a WebSocket with the client's sid.
func (c *client) upgrading() *peer { c.t.Helper(); return c.mustDial(sockets + "&sid=" + c.sid) }

// wantTurnedAway fails unless one more WebSocket with the client's sid is closed,
// whatever it says.
func (c *client) wantTurnedAway() {
	c.t.Helper()
	thief := c.upgrading()
	thief.WriteMessage(websocket.TextMessage, []byte(probe)) // it may be closed already
	thief.WriteMessage(websocket.TextMessage, []byte("5"))
	thief.WriteMessage(websocket.TextMessage, []byte("4stolen"))
	thief.wantClose(codeNoStatus)
}

// refusedSocket is the answer to a handshake that must not succeed.
func (c *client) refusedSocket(query string) answer {
	c.t.Helper()
	p, res, err := c.dial(query)
	if err == nil {
		p.Close()
		c.t.Fatalf("WebSocket %s was opened", query)
	}
	if res == nil {
		c.t.Fatalf("WebSocket %s got no answer: %v", query, err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b)}
}

// socket is a client whose session began on a WebSocket.
func (r *rig) socket() (*client, *peer) {
	r.t.Helper()
	c := r.client()
	p := c.mustDial(sockets)
	m, _ := p.hear()
	c.hear(m)
	return c, p
}

// upgraded is a client whose session changed from polling to a WebSocket.
func (r *rig) upgraded() (*client, *peer) {
	r.t.Helper()
	c := r.polling()
	p := c.upgrading()
	p.say(probe)
	p.want(answered)
	p.say("5")
	e := c.engine()
	eventually(r.t, "the session is on its WebSocket", true, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.socket != nil
	})
	return c, p
}
