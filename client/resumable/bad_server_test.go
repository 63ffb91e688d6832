package resumable

import (
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

// A bad server answers each HELLO rightly, unless it never welcomes, says something behind
// the WELCOME, and answers everything else with something of its own. Then it ends the
// answer, or cuts it.
type bad struct {
	status  int // in place of all that; 0: none
	never   bool
	behind  []byte
	other   []byte
	cuts    bool
	after   time.Duration // of each answer; default 1 ms
	message int           // of a WebSocket; default binary
}

func (b bad) wait() { time.Sleep(max(b.after, time.Millisecond)) }

func (b bad) request(f *fake) func(w http.ResponseWriter, q *http.Request) bool {
	return func(w http.ResponseWriter, q *http.Request) bool {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return true
		}
		if b.wait(); b.status != 0 {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(b.status)
			return true
		}
		w.Header().Set("Content-Type", wire.ContentType)
		first, rest, err := wire.Split(body)
		if err != nil {
			f.t.Error(err)
		}
		answer := b.other
		if first.Type == wire.TypeHello && !b.never {
			var s *talk
			if s, _, answer = f.attach(first.Body); s != nil {
				s.body(rest)
			}
			answer = append(answer, b.behind...)
		}
		w.Write(answer)
		if b.cuts {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		return true
	}
}

func (b bad) socket(f *fake) func(w http.ResponseWriter, q *http.Request) bool {
	return func(w http.ResponseWriter, q *http.Request) bool {
		socket(w, q, func(c *websocket.Conn, p []byte) {
			b.wait()
			f.welcomes(c, p)
			if b.behind != nil {
				c.WriteMessage(max(b.message, websocket.TextMessage), b.behind)
			}
			b.wait()
		})
		return true
	}
}

// Whatever a server or a network makes of each carrier, nobody is asked all the time, with
// something to be sent or without; and all goes on when it is over.
func TestBadServersAreNotAskedAllTheTime(t *testing.T) {
	ack, ping, goaway := wire.Ack{}.Append(nil), wire.AppendPing(nil, nil), wire.AppendPing(wire.AppendGoaway(nil, 0), nil)
	gap := wire.Data{Number: 99, Payload: []byte("x")}.Append(nil)
	slow := 20 * time.Millisecond
	for kind, all := range map[wire.Kind]map[string]bad{
		wire.Poll: {
			"nothing": {never: true}, "an ACK": {never: true, other: ack}, "an ACK, slowly": {never: true, other: ack, after: slow},
			"half a frame": {never: true, other: []byte{7, 100, 0}, cuts: true}, "200": {status: 200}, "302": {status: 302}, "403": {status: 403}, "502": {status: 502},
			"WELCOME, ACKs": {other: ack}, "WELCOME, ACKs, slowly": {other: ack, after: slow}, "WELCOME, PINGs": {behind: ack, other: slices.Concat(ack, ping)},
			"WELCOME, PINGs, slowly": {behind: ack, other: slices.Concat(ack, ping), after: slow}, "WELCOME, no frames": {other: []byte{99, 0}}, "WELCOME, nothing": {behind: ack},
			"WELCOME, cuts": {behind: ack, other: ack, cuts: true}, "WELCOME, GOAWAYs": {behind: goaway, other: slices.Concat(ack, goaway)}, "WELCOME, GOAWAY, cuts": {behind: goaway, cuts: true},
		},
		wire.Stream: {
			"nothing": {never: true}, "an ACK": {never: true, other: ack}, "PAD": {never: true, other: wire.AppendPad(nil, 2048)}, "PAD, cut": {never: true, other: wire.AppendPad(nil, 2048), cuts: true},
			"200": {status: 200}, "502": {status: 502}, "WELCOME": {}, "WELCOME, cut": {cuts: true}, "PING": {behind: ping}, "PING, cut": {behind: ping, cuts: true},
			"GOAWAY": {behind: goaway}, "no frame": {behind: []byte{99, 0}}, "a gap": {behind: gap},
		},
		wire.WebSocket: {
			"WELCOME": {}, "PING": {behind: ping, message: websocket.BinaryMessage}, "text": {behind: ping}, "GOAWAY": {behind: goaway, message: websocket.BinaryMessage},
			"no frame": {behind: []byte{99, 0}, message: websocket.BinaryMessage}, "a gap": {behind: gap, message: websocket.BinaryMessage},
		},
	} {
		for name, b := range all {
			t.Run(string(kind)+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { badServer(t, kind, b) })
			})
		}
	}
}

func badServer(t *testing.T, kind wire.Kind, b bad) {
	r := newRig(t, nil)
	r.f.welcome.TTL = 3_600_000
	c := r.open(r.options(Transport(kind)))
	r.echo(c, "hello")
	time.Sleep(3 * time.Second)
	hook := b.request(r.f)
	if kind == wire.WebSocket {
		hook = b.socket(r.f)
	}
	var n atomic.Int64
	count := func(w http.ResponseWriter, q *http.Request) bool { n.Add(1); return hook(w, q) }
	for _, text := range []string{"", "to be sent"} {
		r.f.set(kind, count)
		before := n.Load()
		r.cut()
		if text != "" {
			if err := c.Write(t.Context(), Text, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		if got := n.Load() - before; got > 300 {
			t.Errorf("%d requests in two minutes, %q waits; want 300 at most", got, text)
		}
		r.f.set(kind, nil)
		c.CheckNetwork()
		if text != "" {
			if _, p, err := c.Read(t.Context()); err != nil || string(p) != text {
				t.Errorf("Read: %q, %v; want %q", p, err, text)
			}
		}
		r.echo(c, "back")
	}
}
