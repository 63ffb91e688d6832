package resume

import (
	"testing"
	"testing/synctest"
	"time"

	"sidecar/protocol/resume/wire"
)

// beside attaches a WebSocket that is not to be used yet.
func (b *bubble) beside() *line {
	l := b.connect()
	l.send(b.hello(func(h *wire.Hello) { h.Use = 0 }))
	l.generation = b.last
	b.welcomed(l.frame())
	return l
}

// use is a USE of l.
func (b *bubble) use(l *line) []byte {
	b.turn++
	return wire.Use{Turn: b.turn, Generation: l.generation}.Append(nil)
}

// wantAck wants the next frame to be an ACK, now.
func (b *bubble) wantAck(l *line, want string, age time.Duration) {
	b.t.Helper()
	wantFrames(b.t, []wire.Frame{l.frame()}, want)
	b.wantAge(want, age)
}

// §7.4: an ACK that went by a carrier that is dropped for another is lost with it. The next
// has it again, or a client whose window is full would wait for ever.
func TestAckComesAgainBehindUse(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		first := b.attach()
		defer first.ws.Close()
		next := b.beside()
		defer next.ws.Close()
		first.send(text(1, "a"))
		b.at(time.Second) // its ACK goes, and is not read
		next.send(b.use(next))
		b.wantAck(next, "ACK 1 0 0", time.Second)
		first.send(text(2, "b"))
		first.ws.Close()
		b.wantAck(next, "ACK 2 0 0", 2*time.Second)
	})
}

// §7.4: nor does the WELCOME of a carrier that may never be used stand for an ACK.
func TestWelcomeIsNoAckToAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		used := b.attach()
		defer used.ws.Close()
		used.send(text(1, "a"))
		b.at(500 * time.Millisecond)
		b.beside().ws.Close()
		b.wantAck(used, "ACK 1 0 0", time.Second)
	})
}

// §7.4: nor the answer to a `send` of a generation that is not in use any more.
func TestLateAnswerIsNoAck(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.ask(wire.Poll, b.hello())
		poll := b.last
		b.back.block = make(chan struct{})
		answer := make(chan []wire.Frame)
		go func() { answer <- b.ask(wire.Send, append(b.next(poll), text(1, "a")...)) }()
		synctest.Wait()
		next := b.beside()
		defer next.ws.Close()
		next.send(b.use(next))
		b.wantAck(next, "ACK 0 1 0", 0)
		close(b.back.block)
		wantFrames(t, <-answer, "ACK 1 0 0")
		b.wantAck(next, "ACK 1 0 0", time.Second)
	})
}
