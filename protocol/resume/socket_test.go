package resume

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

// §3.1, §5.3: a WebSocket opens a session, and messages go both ways.
func TestWebSocketOpens(t *testing.T) {
	r := newRig(t)
	c := r.raw()
	l := c.dial("chat", "chosen", wire.Subprotocol)
	l.send(c.hello(func(h *wire.Hello) { h.Protocols = []string{"chat", "chosen"} }))
	w := c.welcomed(l.frame())
	if w.Protocol != "chosen" || w.Window != 256<<10 || w.Message != 16<<20 || w.Heartbeat != 20000 || w.Timeout != 10000 || w.TTL != 60000 || w.Rotate != 0 || w.Lowest != 1 {
		t.Errorf("WELCOME = %+v", *w)
	}
	b := r.back.next()
	asked := <-r.back.asked
	if got, want := asked.RequestURI, "/chat?room=1&x=%20"; got != want {
		t.Errorf("backend was asked for %q; want %q", got, want)
	}
	if got, want := asked.Header.Get("Sec-Websocket-Protocol"), "chat, chosen"; strings.ReplaceAll(got, ",chosen", ", chosen") != want {
		t.Errorf("backend was offered %q; want %q", got, want)
	}
	l.send(text(1, "hello"))
	b.want("hello")
	b.say("hello to you")
	l.wantText(1, "hello to you")
	l.send(wire.Data{Binary: true, Number: 2, Payload: []byte{0, 1}}.Append(nil), ack(1))
	b.wantBinary("\x00\x01")
	b.sayBinary("\xff")
	f := l.frame()
	for f.Type != wire.TypeData {
		f = l.frame()
	}
	if d, _ := wire.ParseData(f.Body); !d.Binary || string(d.Payload) != "\xff" {
		t.Errorf("got %s; want binary ff", show(f))
	}
}

// §7.4: what was handed on is acknowledged within a second, if nothing else goes.
func TestWebSocketAcks(t *testing.T) {
	r := newRig(t)
	l := r.raw().websocket()
	b := r.back.next()
	l.send(text(1, "a"), text(2, "b"))
	b.want("a")
	b.want("b")
	wantFrames(t, []wire.Frame{l.frame()}, "ACK 2 0 0")
}

// §8.2, §8.3: closes go both ways in order, and the ACK of the last ends the session.
func TestWebSocketCloses(t *testing.T) {
	r := newRig(t)
	l := r.raw().websocket()
	b := r.back.next()
	l.send(text(1, "last"), wire.Close{Number: 2, Code: 4001, Reason: "bye"}.Append(nil))
	b.want("last")
	b.wantClose(4001)
	l.want(`CLOSE 1 4001 ""`)
	l.send(ack(1))
	l.wantEnd(codeNormal)
	r.wantSessions(0)
}

func TestBackendCloses(t *testing.T) {
	r := newRig(t)
	c := r.raw()
	l := c.websocket()
	b := r.back.next()
	l.ws.Close()
	b.say("behind")
	b.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4002, "enough"))
	b.Close()
	l = c.websocket()
	l.wantText(1, "behind")
	l.want(`CLOSE 2 4002 "enough"`)
	l.send(ack(2))
	l.wantEnd(codeNormal)
	r.wantSessions(0)
	l = c.dial()
	l.send(c.hello())
	l.wantGone("closed")
	l.wantEnd(codeNormal)
}

// §6, §7.2: a WebSocket is cut, and the next goes on where the client is.
func TestWebSocketResumes(t *testing.T) {
	r := newRig(t)
	c := r.raw()
	l := c.websocket()
	b := r.back.next()
	b.say("one")
	b.say("two")
	l.wantText(1, "one")
	l.wantText(2, "two")
	l.ws.Close()
	b.say("three")
	c.got.Received = 1 // two was not handed on
	l = c.websocket()
	l.wantText(2, "two")
	l.wantText(3, "three")
	l.send(text(1, "up"), text(1, "up"))
	b.want("up")
	l.ws.Close()
	l = c.dial()
	l.send(append(c.hello(), text(1, "up")...), text(2, "up too"))
	if w := c.welcomed(l.frame()); w.Received+w.Ahead != 1 || w.Lowest != 4 {
		t.Errorf("WELCOME = %+v; want received 1, lowest 4", *w)
	}
	b.want("up too")
}

// §5.6: the backend's refusal is the client's.
func TestRefused(t *testing.T) {
	r := newRig(t)
	r.back.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		http.Error(w, "no", 418)
	}
	c := r.raw()
	l := c.dial()
	l.send(c.hello())
	f := l.frame()
	if refused, err := wire.ParseRefused(f.Body); f.Type != wire.TypeRefused || err != nil || refused.Status != 418 || refused.Retry != 7000 {
		t.Errorf("got %s; want REFUSED 418, retry 7000", show(f))
	}
	l.wantEnd(codeNormal)
}
