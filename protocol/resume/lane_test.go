package resume

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

// begin begins a lane.
func (x *trial) begin() {
	kind := pick(x.rng, []wire.Kind{wire.WebSocket, wire.Stream, wire.Poll})
	use := x.rng.IntN(3) > 0 || len(x.live(true)) == 0
	l := &lane{kind: kind, token: x.c.token}
	hello := x.c.hello(func(h *wire.Hello) {
		if !use {
			h.Use = 0
		}
	})
	l.generation = x.c.last
	x.lanes = append(x.lanes, l)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	switch kind {
	case wire.WebSocket:
		go x.runSocket(ctx, l, hello)
	case wire.Stream:
		go x.runStream(ctx, l, hello)
	default:
		l.polling = true
		go x.runPoll(ctx, l, wire.Poll, hello, 0)
	}
}

func (x *trial) runSocket(ctx context.Context, l *lane, hello []byte) {
	d := websocket.Dialer{Subprotocols: wire.Offered(nil)}
	ws, _, err := d.DialContext(ctx, "ws"+x.c.r.URL[len("http"):]+x.c.path+"?"+x.c.query, nil)
	if err != nil {
		x.events <- event{lane: l, err: err}
		return
	}
	defer ws.Close()
	context.AfterFunc(ctx, func() { ws.NetConn().Close() })
	li := &line{t: x.t, c: x.c, ws: ws}
	if ws.WriteMessage(websocket.BinaryMessage, hello) == nil {
		x.events <- event{lane: l, frame: wire.Frame{Type: socketOpen, Body: nil}, err: nil}
	}
	l.line = li // before the WELCOME's event, and used only behind it
	x.read(l, li)
}

// socketOpen is no frame.
const socketOpen wire.Type = 0xff

func (x *trial) read(l *lane, li *line) {
	for {
		f, err := li.read()
		x.events <- event{l, wire.Frame{Type: f.Type, Body: bytes.Clone(f.Body)}, err}
		if err != nil {
			return
		}
	}
}

func (x *trial) runStream(ctx context.Context, l *lane, hello []byte) {
	res, err := x.c.http.Do(x.c.request(wire.Stream, hello).WithContext(ctx))
	if err != nil {
		x.events <- event{lane: l, err: err}
		return
	}
	defer res.Body.Close()
	x.read(l, &line{t: x.t, c: x.c, body: res.Body, buf: make([]byte, 1+len(hello)%4096)})
}

// runPoll posts, and reads the answer, or only some of it.
func (x *trial) runPoll(ctx context.Context, l *lane, kind wire.Kind, body []byte, most int64) {
	res, err := x.c.http.Do(x.c.request(kind, body).WithContext(ctx))
	if err != nil {
		if kind == wire.Poll {
			x.events <- event{lane: l, err: err}
		}
		return
	}
	defer res.Body.Close()
	from := io.Reader(res.Body)
	if most > 0 {
		from = io.LimitReader(from, most)
	}
	b, err := io.ReadAll(from)
	if res.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %.100q", res.StatusCode, b)
		x.t.Error(err)
	}
	for len(b) > 0 && err == nil {
		var f wire.Frame
		if f, b, err = wire.Split(b); err == nil {
			x.events <- event{lane: l, frame: f}
		}
	}
	if kind == wire.Poll {
		x.events <- event{lane: l}
	}
}

func (x *trial) kill(l *lane) {
	l.dead = true
	l.cancel()
}

// use asks for what goes down by l.
func (x *trial) use(l *lane) {
	x.c.turn++
	x.send(l, wire.Use{Turn: x.c.turn, Generation: l.generation}.Append(nil))
}

// say sends some messages from what the server awaits, or from before.
func (x *trial) say(l *lane) {
	from := x.at.Next()
	offset := int(x.at.Partial)
	if x.rng.IntN(4) == 0 {
		offset = 0
	}
	if x.rng.IntN(8) == 0 && x.at.Received < x.count {
		from, offset = x.at.Received+1, 0 // what is not acknowledged, again
	}
	var b []byte
	for n := from; n <= x.count && n < x.at.Received+40 && len(b) < 40_000; n++ {
		m := x.payload(n)
		var whole bool
		if b, _, whole = wire.AppendMessage(b, n, true, m, min(offset, len(m)-1), 60_000-len(b)); !whole {
			break
		}
		offset = 0
	}
	x.send(l, b)
}

// send sends frames by a lane: perhaps twice, perhaps with an answer that is lost or
// cut.
func (x *trial) send(l *lane, frames []byte) {
	if l.kind == wire.WebSocket {
		b := append(x.c.got.Append(nil), frames...)
		if err := l.line.ws.WriteMessage(websocket.BinaryMessage, b); err != nil {
			l.dead = true
		}
		return
	}
	body := append(x.c.next(l.generation), frames...)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	context.AfterFunc(ctx, cancel)
	if l.kind == wire.Poll && !l.polling {
		l.polling = true
		most := int64(0)
		if x.rng.IntN(5) == 0 {
			most = 1 + x.rng.Int64N(3000)
		}
		ctx, cancel := context.WithCancel(context.Background())
		l.cancel = cancel
		go x.runPoll(ctx, l, wire.Poll, body, most)
		if x.rng.IntN(10) == 0 {
			go x.runPoll(ctx, l, wire.Poll, body, 0)
		}
		return
	}
	if len(frames) == 0 && x.rng.IntN(4) > 0 || x.rng.IntN(3) > 0 {
		return
	}
	for range 1 + x.rng.IntN(10)/9 {
		go x.runPoll(ctx, l, wire.Send, body, 0)
	}
}
