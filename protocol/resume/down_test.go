package resume

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"sidecar/protocol/resume/wire"
)

// §7.5: no message is begun while what is not acknowledged counts a window; one that
// was begun is sent to its end; and an ACK by any carrier opens the window.
func TestWindowDown(t *testing.T) {
	r := newRig(t)
	c := r.raw()
	l := c.websocket(func(h *wire.Hello) { h.Window = 4096 })
	b := r.back.next()
	for n := 1; n <= 5; n++ {
		b.say(strings.Repeat(fmt.Sprint(n), 2000))
	}
	for n := uint64(1); n <= 2; n++ { // 2 * 2064 is more than 4096
		l.wantText(n, strings.Repeat(fmt.Sprint(n), 2000))
	}
	l.send(wire.AppendPing(nil, []byte("a")))
	l.want(`PONG "a"`)
	c.got.Received = 1
	c.ask(wire.Send, c.next(1)) // by another carrier
	l.wantText(3, strings.Repeat("3", 2000))
	l.send(wire.AppendPing(nil, []byte("b")))
	l.want(`PONG "b"`)
	l.send(wire.Ack{Received: 1, Ahead: 2}.Append(nil), wire.AppendPing(nil, []byte("c"))) // ahead opens nothing
	l.want(`PONG "c"`)
	l.send(ack(3))
	l.wantText(4, strings.Repeat("4", 2000))
	l.wantText(5, strings.Repeat("5", 2000))
}

// §5.2: a resuming client says what it has beyond what it handed on, and gets the rest
// only.
func TestResumesWithinAMessage(t *testing.T) {
	r := newRig(t)
	c := r.raw()
	l := c.websocket()
	b := r.back.next()
	b.say("1")
	b.say("2")
	big := strings.Repeat("x", 100_000)
	b.say(big)
	l.wantText(1, "1")
	l.wantText(2, "2")
	l.piecesOf(3, 0, 50_000)
	l.ws.Close()
	c.got = wire.Ack{Received: 1, Ahead: 1, Partial: 50_000}
	l = c.websocket()
	l.piecesOf(3, 50_000, len(big))
	if w := decodeWelcomeLowest(t, c, r); w != 2 {
		t.Errorf("lowest = %d; want 2", w)
	}
}

// piecesOf wants a message's pieces, the first from an offset on and no gap between
// them, until they reach so far.
func (l *line) piecesOf(number uint64, from, to int) {
	l.t.Helper()
	for from < to {
		f := l.frame()
		if f.Type == wire.TypeAck || f.Type == wire.TypePing {
			continue
		}
		d, err := wire.ParseData(f.Body)
		if f.Type != wire.TypeData || err != nil || d.Number != number || d.Offset != uint64(from) {
			l.t.Fatalf("got %s; want message %d from %d", show(f), number, from)
		}
		from += len(d.Payload)
	}
}

func decodeWelcomeLowest(t *testing.T, c *raw, r *rig) uint64 {
	t.Helper()
	l := c.dial()
	l.send(c.hello(func(h *wire.Hello) { h.Use = 0 }))
	return c.welcomed(l.frame()).Lowest
}

// §6.2: a HELLO that comes again takes the carrier's place: what was there ends
// without a word, and what goes down goes on by the new one.
func TestHelloComesAgain(t *testing.T) {
	inEveryWay(t, func(t *testing.T, r *rig) {
		c := r.raw()
		hello := c.hello()
		first, second := c.dial(), c.dial()
		first.send(hello)
		w := c.welcomed(first.frame())
		b := r.back.next()
		second.send(hello)
		if again := c.welcomed(second.frame()); again.Session != w.Session || again.Token != w.Token {
			t.Errorf("welcomed by %+v, then %+v; want alike", *w, *again)
		}
		first.wantEnd(codeNormal)
		b.say("x")
		second.wantText(1, "x")
		stream := c.stream(c.hello())
		c.welcomed(stream.frame())
		res := c.post(wire.Stream, c.hello(func(h *wire.Hello) { h.Generation, h.Use = c.last-1, 0 }))
		defer res.Body.Close()
		if _, err := stream.read(); err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			t.Errorf("the first stream ended with %v", err)
		}
	})
}

// §7.2: pieces of a large message let a PING pass.
func TestPingPassesALargeMessage(t *testing.T) {
	r := newRig(t)
	l := r.raw().websocket()
	b := r.back.next()
	go b.sayBinary(strings.Repeat("x", 15<<20))
	for f := l.frame(); f.Type != wire.TypeData; {
		f = l.frame()
	}
	l.send(wire.AppendPing(nil, []byte("m")))
	for {
		f := l.frame()
		if f.Type == wire.TypePong {
			return
		}
		if d, err := wire.ParseData(f.Body); f.Type == wire.TypeData && err == nil && !d.More {
			t.Fatal("the PONG came behind the whole message")
		}
	}
}

// §3.2: POSTs that come twice, and that overtake each other, harm nothing.
func TestSendsTwiceAndOvertaken(t *testing.T) {
	r := newRig(t)
	c := r.raw()
	c.poll()
	b := r.back.next()
	wantFrames(t, c.ask(wire.Send, append(c.next(1), text(2, "two")...)), "ACK 0 0 0")
	one := append(c.next(1), text(1, "one")...)
	wantFrames(t, c.ask(wire.Send, one), "ACK 1 0 0")
	wantFrames(t, c.ask(wire.Send, one), "ACK 1 0 0")
	wantFrames(t, c.ask(wire.Send, append(c.next(1), text(2, "two")...)), "ACK 2 0 0")
	b.want("one")
	b.want("two")
}
