package resume

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

// A raw is a client object in the hands of a test, as raw as it likes.
type raw struct {
	t       testing.TB
	r       *rig
	http    *http.Client
	header  http.Header
	path    string // of the application
	query   string
	attempt string
	session string
	token   string
	turn    uint64
	last    uint64 // generation
	got     wire.Ack

	patience time.Duration
}

func (r *rig) raw() *raw {
	t := &http.Transport{MaxIdleConnsPerHost: 4, TLSClientConfig: r.trusts()}
	r.t.Cleanup(t.CloseIdleConnections)
	return &raw{
		t: r.t, r: r, http: &http.Client{Transport: t, Timeout: patience}, header: http.Header{},
		path: "/chat", query: "room=1&x=%20", attempt: wire.NewAttempt(), patience: patience,
	}
}

// trusts is how clients of r trust it; nil: it has nothing to show.
func (r *rig) trusts() *tls.Config {
	if !r.secure {
		return nil
	}
	return r.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
}

// hello is the next HELLO: one that opens, or resumes what the client knows. It asks
// to be used.
func (c *raw) hello(changes ...func(*wire.Hello)) []byte {
	c.t.Helper()
	c.last++
	c.turn++
	h := &wire.Hello{
		Version: 1, Attempt: c.attempt, Generation: c.last, Use: c.turn, Session: c.session, Token: c.token,
		Position: wire.Position{Lowest: 1}, Window: 256 << 10,
	}
	if c.session != "" {
		h.Received, h.Ahead, h.Partial = c.got.Received, c.got.Ahead, c.got.Partial
	}
	for _, change := range changes {
		change(h)
	}
	return must(h.Append(nil))
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// welcomed keeps what a WELCOME says.
func (c *raw) welcomed(f wire.Frame) *wire.Welcome {
	c.t.Helper()
	if f.Type != wire.TypeWelcome {
		c.t.Fatalf("got %s; want WELCOME", show(f))
	}
	w, err := wire.ParseWelcome(f.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	c.session, c.token = w.Session, w.Token
	return w
}

// next begins the body of a further request.
func (c *raw) next(generation uint64) []byte {
	b := wire.Continue{Generation: generation, Session: c.session, Token: c.token}.Append(nil)
	return c.got.Append(b)
}

// text is DATA of one whole message.
func text(number uint64, s string) []byte {
	return wire.Data{Number: number, Payload: []byte(s)}.Append(nil)
}

func ack(received uint64) []byte { return wire.Ack{Received: received}.Append(nil) }

// show is a frame in a failure's text.
func show(f wire.Frame) string {
	switch f.Type {
	case wire.TypeData:
		d, err := wire.ParseData(f.Body)
		return fmt.Sprintf("DATA %d+%d more=%v %.60q %v", d.Number, d.Offset, d.More, d.Payload, errText(err))
	case wire.TypeAck:
		a, err := wire.ParseAck(f.Body)
		return fmt.Sprintf("ACK %d %d %d%v", a.Received, a.Ahead, a.Partial, errText(err))
	case wire.TypeClose:
		x, err := wire.ParseClose(f.Body)
		return fmt.Sprintf("CLOSE %d %d %q%v", x.Number, x.Code, x.Reason, errText(err))
	}
	return fmt.Sprintf("%v %.80q", f.Type, f.Body)
}

func errText(err error) string {
	if err != nil {
		return " " + err.Error()
	}
	return ""
}

// split has all frames of a body but PADs.
func split(t testing.TB, b []byte) (all []wire.Frame) {
	t.Helper()
	for len(b) > 0 {
		f, rest, err := wire.Split(b)
		if err != nil {
			t.Fatalf("splitting %q: %v", b[:min(len(b), 100)], err)
		}
		if b = rest; f.Type != wire.TypePad {
			all = append(all, f)
		}
	}
	return all
}

// A line is one WebSocket of a client's, or one stream.
type line struct {
	t          testing.TB
	c          *raw
	ws         *websocket.Conn
	body       io.ReadCloser
	splitter   wire.Splitter
	buf, left  []byte
	frames     []wire.Frame
	generation uint64
}

// dial opens a WebSocket, without a HELLO.
func (c *raw) dial(protocols ...string) *line {
	c.t.Helper()
	if len(protocols) == 0 {
		protocols = wire.Offered(nil)
	}
	d := websocket.Dialer{Subprotocols: protocols, HandshakeTimeout: patience, TLSClientConfig: c.r.trusts()}
	ws, res, err := d.Dial("ws"+strings.TrimPrefix(c.r.URL, "http")+c.path+"?"+c.query, c.header)
	if err != nil {
		c.t.Fatalf("dialing: %v, %v", err, res)
	}
	c.t.Cleanup(func() { ws.Close() })
	if got := ws.Subprotocol(); got != wire.Subprotocol {
		c.t.Fatalf("subprotocol = %q; want %q", got, wire.Subprotocol)
	}
	return &line{t: c.t, c: c, ws: ws}
}

// websocket attaches one.
func (c *raw) websocket(changes ...func(*wire.Hello)) *line {
	c.t.Helper()
	l := c.dial()
	l.send(c.hello(changes...))
	l.generation = c.last
	c.welcomed(l.frame())
	return l
}

// stream begins one, without reading.
func (c *raw) stream(body []byte) *line {
	c.t.Helper()
	res := c.post(wire.Stream, body)
	if res.StatusCode != 200 {
		c.t.Fatalf("status of a stream = %d; want 200", res.StatusCode)
	}
	c.t.Cleanup(func() { res.Body.Close() })
	return &line{t: c.t, c: c, body: res.Body, generation: c.last, buf: make([]byte, 64<<10)}
}

func (l *line) send(frames ...[]byte) {
	l.t.Helper()
	if err := l.ws.WriteMessage(websocket.BinaryMessage, bytes.Join(frames, nil)); err != nil {
		l.t.Fatalf("sending frames: %v", err)
	}
}

// frame is the next frame.
func (l *line) frame() wire.Frame {
	l.t.Helper()
	f, err := l.read()
	if err != nil {
		l.t.Fatalf("waiting for a frame: %v", err)
	}
	return f
}

func (l *line) read() (wire.Frame, error) {
	for l.ws != nil && len(l.frames) == 0 {
		l.ws.SetReadDeadline(time.Now().Add(l.c.patience))
		_, m, err := l.ws.ReadMessage()
		if err != nil {
			return wire.Frame{}, err
		}
		l.frames = split(l.t, m)
	}
	for l.ws == nil {
		f, rest, ok, err := l.splitter.Next(l.left)
		l.left = rest
		if err != nil {
			return wire.Frame{}, err
		}
		if ok && f.Type != wire.TypePad {
			return f, nil
		}
		if ok {
			continue
		}
		n, err := l.body.Read(l.buf)
		if n == 0 && err != nil {
			return wire.Frame{}, err
		}
		l.left = l.buf[:n]
	}
	f := l.frames[0]
	l.frames = l.frames[1:]
	return f, nil
}

// want passes over ACKs and PINGs up to a frame that looks so.
func (l *line) want(want string) {
	l.t.Helper()
	for {
		f := l.frame()
		if got := show(f); got == want {
			return
		} else if f.Type != wire.TypeAck && f.Type != wire.TypePing {
			l.t.Fatalf("got %s; want %s", got, want)
		}
	}
}

// wantText wants one whole message, and notes it as received.
func (l *line) wantText(number uint64, s string) {
	l.t.Helper()
	l.want(fmt.Sprintf("DATA %d+0 more=false %.60q ", number, s))
	l.c.got.Received = number
}

func (l *line) wantGone(reason string) {
	l.t.Helper()
	l.want(fmt.Sprintf("GONE %q", `{"reason":"`+reason+`"}`))
}

// wantEnd reads up to the WebSocket's close, of that code.
func (l *line) wantEnd(code int) {
	l.t.Helper()
	for {
		f, err := l.read()
		if err == nil {
			l.t.Logf("passed over %s", show(f))
			continue
		}
		if !websocket.IsCloseError(err, code) {
			l.t.Fatalf("the WebSocket ended with %v; want close %d", err, code)
		}
		return
	}
}

func (c *raw) request(kind wire.Kind, body []byte) *http.Request {
	r, err := http.NewRequest("POST", c.r.URL+c.path+"?"+wire.AddKind(c.query, kind), bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for k, v := range c.header {
		r.Header[k] = v
	}
	r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	return r
}

func (c *raw) post(kind wire.Kind, body []byte) *http.Response {
	c.t.Helper()
	res, err := c.http.Do(c.request(kind, body))
	if err != nil {
		c.t.Fatal(err)
	}
	return res
}

// ask posts, and has the frames of the answer.
func (c *raw) ask(kind wire.Kind, body []byte) []wire.Frame {
	c.t.Helper()
	res := c.post(kind, body)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if got := res.Header.Get("Content-Type"); res.StatusCode != 200 || got != wire.ContentType {
		c.t.Fatalf("answer = %d %q %.100q; want 200 of %s", res.StatusCode, got, b, wire.ContentType)
	}
	return split(c.t, b)
}

// poll opens by a poll.
func (c *raw) poll(changes ...func(*wire.Hello)) []wire.Frame {
	c.t.Helper()
	all := c.ask(wire.Poll, c.hello(changes...))
	c.welcomed(all[0])
	return all[1:]
}

// wantFrames compares an answer.
func wantFrames(t testing.TB, got []wire.Frame, want ...string) {
	t.Helper()
	var have []string
	for _, f := range got {
		have = append(have, show(f))
	}
	if g, w := strings.Join(have, "\n"), strings.Join(want, "\n"); g != w {
		t.Fatalf("got frames\n%s\nwant\n%s", g, w)
	}
}

// wantTaken wants an ACK of all messages up to a number, whether handed on or not: the
// backend's reply may overtake the word that its socket took them.
func wantTaken(t testing.TB, f wire.Frame, number uint64) {
	t.Helper()
	if a, err := wire.ParseAck(f.Body); f.Type != wire.TypeAck || err != nil || a.Next() != number+1 {
		t.Errorf("got %s; want an ACK of %d", show(f), number)
	}
}

func decode(t testing.TB, f wire.Frame) (m map[string]any) {
	t.Helper()
	if err := json.Unmarshal(f.Body, &m); err != nil {
		t.Fatalf("%s: %v", show(f), err)
	}
	return m
}
