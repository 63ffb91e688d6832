package resumable

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

// A player is a vector's server: it waits for what the client must say, and answers what
// is written. What is not written, such as a send where the vector has the messages in a
// poll, it answers with an ACK.
type player struct {
	t      *testing.T
	events chan *event
	over   chan struct{}
	in     inbox                // of what came up
	hurry  bool                 // what the server said must be answered at once
	mu     sync.Mutex           // guards what follows
	open   map[wire.Kind]*event // carriers and requests that can be answered
	hang   int                  // so many WebSockets hang
	fails  bool                 // sends do
	late   bool                 // polls are, and are not looked at
}

// An event is a message of a WebSocket, or a request.
type event struct {
	kind   wire.Kind
	frames []wire.Frame
	out    chan []byte // closed at the end
}

func newPlayer(t *testing.T, hang int) *player {
	return &player{
		t: t, hang: hang, events: make(chan *event, 100), over: make(chan struct{}),
		in: newInbox(1<<20, 1<<20), open: map[wire.Kind]*event{},
	}
}

func (p *player) do(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// failSend has every send fail until nextPoll, which answers the poll that is held; the
// next one is held too, and counts as late.
func (p *player) failSend() { p.do(func() { p.fails = true }) }

func (p *player) nextPoll() {
	p.do(func() { p.late = true })
	p.answer(wire.Poll, wire.Ack{}.Append(nil))
	time.Sleep(time.Microsecond)
	p.do(func() { p.fails = false })
}

func (p *player) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	kind, _, ok := wire.CutKind(q.URL.RawQuery)
	var hangs, fails, late bool
	p.do(func() {
		hangs, fails, late = !ok && p.hang > 0, kind == wire.Send && p.fails, kind == wire.Poll && p.late
		if hangs {
			p.hang--
		}
	})
	switch {
	case hangs:
		hanging(w, q)
	case !ok:
		p.webSocket(w, q)
	case fails:
		http.Error(w, "no", http.StatusServiceUnavailable)
	default:
		body, err := io.ReadAll(q.Body)
		if err == nil {
			err = wire.CheckBody(kind, body)
		}
		if err != nil {
			p.t.Errorf("%s: %v", kind, err)
		}
		w.Header().Set("Content-Type", wire.ContentType)
		e := &event{kind, p.split(body), make(chan []byte)}
		if !late {
			p.events <- e
		}
		p.speak(e, q, func(b []byte) { w.Write(b); w.(http.Flusher).Flush() })
	}
}

// speak passes on what the player says, until it has no more to say.
func (p *player) speak(e *event, q *http.Request, write func(b []byte)) {
	for {
		select {
		case b, more := <-e.out:
			if !more {
				return
			}
			write(b)
		case <-q.Context().Done():
			return
		case <-p.over:
			return
		}
	}
}

func (p *player) webSocket(w http.ResponseWriter, q *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}
	c, err := up.Upgrade(w, q, nil)
	if err != nil {
		return
	}
	defer c.Close()
	out := make(chan []byte)
	go func() {
		for {
			_, b, err := c.ReadMessage()
			if err != nil {
				return
			}
			p.events <- &event{wire.WebSocket, p.split(b), out}
		}
	}()
	p.speak(&event{out: out}, q, func(b []byte) { c.WriteMessage(websocket.BinaryMessage, b) })
}

func (p *player) split(b []byte) (frames []wire.Frame) {
	for len(b) > 0 {
		f, rest, err := wire.Split(b)
		if err != nil {
			p.t.Errorf("%x: %v", b, err)
			return frames
		}
		b, frames = rest, append(frames, f)
	}
	return frames
}

// answer says something; a poll and a send are over with it.
func (p *player) answer(kind wire.Kind, b []byte) bool {
	var e *event
	p.do(func() { e = p.open[kind] })
	if e == nil {
		return false
	}
	if b != nil {
		e.out <- b
	}
	if b == nil || kind == wire.Poll || kind == wire.Send {
		close(e.out)
		p.do(func() { delete(p.open, kind) })
	}
	return true
}

// step plays one step.
func (p *player) step(s step) bool {
	b, err := hex.DecodeString(s.Hex)
	if err != nil {
		p.t.Error(err)
	}
	frames := p.split(b)
	switch {
	case s.From == "cut":
		time.Sleep(killedSoon + time.Second) // or WebSockets count as blocked
		return p.answer(wire.WebSocket, nil)
	case s.Lost:
		return p.answer(s.Carrier, nil)
	case s.From == "server":
		last := frames[len(frames)-1].Type
		p.hurry = last == wire.TypeGoaway || last == wire.TypeClose
		ok := p.answer(s.Carrier, b)
		time.Sleep(time.Millisecond) // until all have done what they do about it
		return ok
	}
	return p.await(s, frames)
}

// await is until the client has said what it must. Its ACKs are looked at only where it is
// certain when they go: by WebSocket.
func (p *player) await(s step, want []wire.Frame) bool {
	first := want[0]
	want = slices.DeleteFunc(want, func(f wire.Frame) bool {
		return f.Type == wire.TypeContinue || f.Type == wire.TypeAck && s.Carrier != wire.WebSocket
	})
	for beats := 0; ; {
		var open bool
		p.do(func() { open = p.open[s.Carrier] != nil })
		if len(want) == 0 && open {
			return true
		}
		if p.hurry && len(p.events) == 0 {
			p.t.Errorf("nothing came at once; want %v", want)
			return false
		}
		select {
		case e := <-p.events:
			var ok bool
			if want, ok = p.take(e, s.Carrier, first, want); !ok {
				return false
			}
		case <-time.After(15 * time.Second):
			if beats++; beats > 10 {
				p.t.Errorf("nothing came; want %v", want)
				return false
			}
			p.answer(wire.Stream, wire.AppendPing(nil, nil))
		}
	}
}

// take compares what came, and returns what is still to come.
func (p *player) take(e *event, kind wire.Kind, first wire.Frame, want []wire.Frame) ([]wire.Frame, bool) {
	before := len(want)
	for _, f := range e.frames {
		switch {
		case f.Type == wire.TypeContinue && (e.kind != kind || alike(f, first)):
		case f.Type == wire.TypePong:
		case f.Type == wire.TypePing:
			if e.kind == wire.WebSocket {
				e.out <- wire.AppendPong(nil, f.Body)
			}
		case f.Type == wire.TypeAck && (len(want) == 0 || !alike(f, want[0])):
		case len(want) > 0 && alike(f, want[0]) && (f.Type != wire.TypeHello || e.kind == kind):
			want = want[1:]
		default:
			p.t.Errorf("%s: %v %q; want %v", e.kind, f.Type, f.Body, want)
			return want, false
		}
		if d, err := wire.ParseData(f.Body); f.Type == wire.TypeData && err == nil {
			p.in.data(d)
			p.in.read()
		}
	}
	p.do(func() { p.open[e.kind] = e })
	if e.kind == wire.Send && (kind != wire.Send || len(want) == before) {
		p.answer(wire.Send, p.in.ack().Append(nil))
	}
	return want, true
}

// alike compares frames; of a HELLO all but the secret that each client makes.
func alike(got, want wire.Frame) bool {
	if got.Type != wire.TypeHello || want.Type != wire.TypeHello {
		return got.Type == want.Type && string(got.Body) == string(want.Body)
	}
	a, err := wire.ParseHello(got.Body)
	b, err2 := wire.ParseHello(want.Body)
	if err != nil || err2 != nil {
		return false
	}
	a.Attempt = b.Attempt
	p, _ := a.Append(nil)
	q, _ := b.Append(nil)
	return string(p) == string(q)
}

// seven are messages of a backend that drains after them.
func seven() step {
	var b []byte
	for n := range uint64(7) {
		b = wire.Data{Number: n + 1, Payload: fmt.Append(nil, n+1)}.Append(b)
	}
	return step{From: "server", Carrier: wire.WebSocket, Generation: 1, Hex: hex.EncodeToString(b)}
}
