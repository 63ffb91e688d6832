package resume

import (
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
	"sidecar/session"
)

// short is a rig whose sessions may hold 1 MiB.
func short(r *rig) { r.all.Memory = 1 << 20 }

func pieceOf(number, offset uint64, more bool) []byte {
	return wire.Data{Binary: true, Number: number, Offset: offset, More: more, Payload: make([]byte, 60_000)}.Append(nil)
}

// What clients send and no backend has yet counts as held, and is bounded with the rest:
// many clients with large messages in pieces do not take all memory.
func TestPiecesAreCountedAndBounded(t *testing.T) {
	r := newRig(t, short)
	const clients, pieces = 30, 40
	var lines []*line
	for range clients {
		lines = append(lines, r.raw().websocket())
		r.back.next()
	}
	for _, l := range lines {
		for n := range uint64(pieces) { // an end in between is fine
			l.ws.WriteMessage(websocket.BinaryMessage, pieceOf(1, n*60_000, true))
		}
		l.ws.WriteMessage(websocket.BinaryMessage, wire.AppendPing(nil, []byte("x")))
		for err := error(nil); err == nil; {
			var f wire.Frame
			if f, err = l.read(); err == nil && f.Type == wire.TypePong {
				break
			}
		}
		if held := r.all.Held(); held < 60_000 {
			t.Fatalf("sessions count %d bytes; want at least a piece", held)
		}
	}
	var held int64
	r.eachClient(func(c *client) { held += c.up.assembly.Held() })
	if most := r.all.Memory + clients*slack; held > most {
		t.Errorf("%d bytes are held; want at most %d", held, most)
	}
	r.empty()
	if held := r.all.Held(); held != 0 {
		t.Errorf("%d bytes are counted though all sessions have ended", held)
	}
}

// A message that was put off by WebSocket comes by the next, whole, once there is
// memory; and by requests.
func TestPutOffAndTakenLater(t *testing.T) {
	r := newRig(t, short)
	greedy, c := r.raw(), r.raw()
	g := greedy.websocket()
	r.back.next()
	for n := range uint64(20) {
		g.send(pieceOf(1, n*60_000, true))
	}
	g.send(wire.AppendPing(nil, []byte("x")))
	g.want(`PONG "x"`)

	r.all.Set(session.Memory{Limit: 100 << 20})
	l := c.websocket()
	b := r.back.next()
	r.all.Set(session.Memory{Limit: 1 << 20})
	l.send(text(1, "small ones pass"))
	b.want("small ones pass")
	l.send(pieceOf(2, 0, true), pieceOf(2, 60_000, true))
	l.send(pieceOf(2, 120_000, true)) // which is no gap of the client's making
	l.wantEnd(codeTryAgain)
	start := time.Now()
	for _, f := range c.ask(wire.Send, append(c.next(1), pieceOf(2, 60_000, true)...)) {
		if a, err := wire.ParseAck(f.Body); err != nil || a.Next() != 2 || a.Partial != 60_000 {
			t.Errorf("a send got %s; want an ACK of 60000 bytes of message 2", show(f))
		}
	}
	if took := time.Since(start); took < ackTime/2 {
		t.Errorf("what was put off was answered after %v: the client would try again at once", took)
	}
	r.all.Set(session.Memory{Limit: 100 << 20})
	l = c.websocket()
	l.send(pieceOf(2, 60_000, true), wire.Data{Binary: true, Number: 2, Offset: 120_000, Payload: []byte("end")}.Append(nil))
	b.wantBinary(string(append(make([]byte, 120_000), "end"...)))
}

// Who is put off for too long ends, or clients with half a message each would wait for
// each other for ever.
func TestPutOffForTooLong(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.all.Set(session.Memory{Limit: 1})
		b.ask(wire.Send, append(b.next(1), pieceOf(1, 0, true)...))
		for {
			start := b.age()
			f := b.ask(wire.Send, append(b.next(1), pieceOf(1, 60_000, true)...))[0]
			if f.Type == wire.TypeGone {
				wantFrames(t, []wire.Frame{f}, `GONE "{\"reason\":\"evicted\"}"`)
				break
			}
			wantFrames(t, []wire.Frame{f}, "ACK 0 0 60000")
			if took := b.age() - start; took != ackTime {
				t.Fatalf("what was put off was answered after %v; want %v", took, ackTime)
			}
		}
		b.wantAge("the end came", shortTime)
		if held := b.all.Held(); held != 0 {
			t.Errorf("%d bytes are counted of a session that has ended", held)
		}
	})
}
