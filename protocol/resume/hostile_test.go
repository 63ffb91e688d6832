package resume

import (
	"testing"
	"testing/synctest"

	"sidecar/protocol/resume/wire"
	"sidecar/session"
)

// §12: what ends the session: all carriers are told, and the backend.
func TestViolationsEndTheSession(t *testing.T) {
	piece := func(more, binary bool, number, offset uint64, n int) []byte {
		return wire.Data{More: more, Binary: binary, Number: number, Offset: offset, Payload: make([]byte, n)}.Append(nil)
	}
	for _, x := range []struct {
		name   string
		frames [][]byte
	}{
		{"an ACK of what was not sent", [][]byte{ack(1)}},
		{"an ACK that is ahead of all", [][]byte{wire.Ack{Ahead: 1}.Append(nil)}},
		{"a part of nothing", [][]byte{wire.Ack{Partial: 1}.Append(nil)}},
		{"text and binary", [][]byte{piece(true, false, 1, 0, 2048), piece(false, true, 1, 2048, 1)}},
		{"an end that comes too early", [][]byte{piece(true, false, 1, 0, 2048), piece(false, false, 1, 0, 2048)}},
		{"DATA behind a CLOSE", [][]byte{wire.Close{Number: 1, Code: 1000}.Append(nil), text(2, "x")}},
		{"a CLOSE in a message's place", [][]byte{text(1, "x"), wire.Close{Number: 1, Code: 1000}.Append(nil)}},
		{"two CLOSEs", [][]byte{wire.Close{Number: 1, Code: 1000}.Append(nil), wire.Close{Number: 2, Code: 1000}.Append(nil)}},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRig(t)
			c := r.raw()
			l := c.websocket()
			r.back.next()
			other := c.stream(c.hello(func(h *wire.Hello) { h.Use = 0 }))
			c.welcomed(other.frame())
			l.send(x.frames...)
			l.wantGone("violation")
			l.wantEnd(codeNormal)
			other.wantGone("violation")
			r.wantSessions(0)
			l = c.dial()
			l.send(c.hello())
			l.wantGone("violation")
		})
	}
}

// §12: what ends the carrier, and nothing else.
func TestFaultsEndTheCarrier(t *testing.T) {
	for _, x := range []struct {
		name   string
		frames []byte
	}{
		{"no frame", []byte("<html>")},
		{"half a frame", text(1, "whole")[:3]},
		{"a frame of the server's", wire.AppendGoaway(nil, 1)},
		{"CONTINUE", wire.Continue{Generation: 1, Session: "s", Token: "t"}.Append(nil)},
		{"a gap", text(2, "x")},
		{"a gap within a message", wire.Data{Number: 1, Offset: 1, Payload: []byte("x")}.Append(nil)},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRig(t)
			c := r.raw()
			l := c.websocket()
			b := r.back.next()
			l.send(x.frames)
			l.wantEnd(codeBroken)
			l = c.websocket()
			l.send(text(1, "lives"))
			b.want("lives")
		})
	}
	t.Run("text", func(t *testing.T) {
		r := newRig(t)
		l := r.raw().websocket()
		l.ws.WriteMessage(1, []byte("hello"))
		l.wantEnd(codeUnsupported)
	})
	t.Run("a large WebSocket message", func(t *testing.T) {
		r := newRig(t)
		l := r.raw().websocket()
		l.ws.WriteMessage(2, make([]byte, wire.MaxBody+1))
		l.wantEnd(codeTooBig)
	})
	t.Run("no HELLO first", func(t *testing.T) {
		r := newRig(t)
		l := r.raw().dial()
		l.send(text(1, "x"))
		l.wantEnd(codeBroken)
	})
}

// §7.5: a message that is begun while a whole window waits ends the session; what
// waits is bounded by that.
func TestFloodUp(t *testing.T) {
	r := newRig(t, func(r *rig) {
		settings := session.Default()
		settings.Window = 64 << 10
		r.h.Session = &settings
	})
	l := r.raw().websocket()
	r.back.next() // and does not read
	big := make([]byte, 32<<10)
	for n := uint64(1); n < 10_000; n++ {
		l.send(wire.Data{Binary: true, Number: n, Payload: big}.Append(nil))
		if len(r.all.All()) == 0 {
			break
		}
	}
	l.wantGone("violation")
}

// §12: a message larger than is allowed, endless fragments among them, is 1009; text
// that is none 1007. The backend is told 1001.
func TestMessagesThatCannotPass(t *testing.T) {
	r := newRig(t, func(r *rig) { r.h.Message = 100_000 })
	c := r.raw()
	l := c.websocket()
	b := r.back.next()
	for n := range 3 {
		l.send(wire.Data{More: true, Number: 1, Offset: uint64(n) * 60_000, Payload: make([]byte, 60_000)}.Append(nil))
	}
	l.want(`CLOSE 1 1009 "message is too large"`)
	b.wantClose(codeGoingAway)
	l.send(ack(1))
	r.wantSessions(0)
	l = r.raw().websocket()
	b = r.back.next()
	l.send(text(1, "\xff"))
	l.want(`CLOSE 1 1007 "text is not UTF-8"`)
	b.wantClose(codeGoingAway)
}

// §12: what follows a message that cannot pass is ignored, also while the backend is
// being told: the client is to hear why, and not of a gap.
func TestWhatFollowsAMessageThatCannotPass(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.back.hold = make(chan struct{})
		defer close(b.back.hold)
		b.c.up.assembly.Limit = 100_000
		l := b.attach()
		for n := range 4 {
			l.send(wire.Data{More: true, Number: 1, Offset: uint64(n) * 60_000, Payload: make([]byte, 60_000)}.Append(nil))
			synctest.Wait()
		}
		l.want(`CLOSE 1 1009 "message is too large"`)
		l.send(wire.AppendPing(nil, []byte("there?")))
		l.want(`PONG "there?"`)
		l.ws.Close()
	})
}

// §8.2: a CLOSE with a code that no client may send is 1001 to the backend.
func TestCloseCodes(t *testing.T) {
	for code, want := range map[int]int{1000: 1000, 1004: 1001, 1005: 1005, 1006: 1001, 1007: 1007, 1012: 1001, 1015: 1001, 2999: 1001, 3000: 3000, 4999: 4999} {
		r := newRig(t)
		l := r.raw().websocket()
		b := r.back.next()
		l.send(wire.Close{Number: 1, Code: code}.Append(nil))
		b.wantClose(want)
	}
}

// §6.2: a session has at most eight carriers; one more ends the oldest that is not in
// use.
func TestManyCarriers(t *testing.T) {
	r := newRig(t)
	c := r.raw()
	used := c.websocket()
	b := r.back.next()
	var others []*line
	for range maxCarriers {
		others = append(others, c.websocket(func(h *wire.Hello) { h.Use = 0 }))
	}
	others[0].wantEnd(codeNormal)
	b.say("still here")
	used.wantText(1, "still here")
	for range 500 {
		c.websocket(func(h *wire.Hello) { h.Use = 0 })
	}
	for range 500 { // a CONTINUE of a generation that is not attached has it be
		c.last++
		c.ask(wire.Poll, append(c.next(c.last), wire.AppendPing(nil, nil)...))
	}
	b.say("and here")
	used.wantText(2, "and here")
	r.eachClient(func(c *client) {
		if n := len(c.carriers); n != maxCarriers {
			t.Errorf("%d carriers are attached; want %d", n, maxCarriers)
		}
	})
}

func (r *rig) eachClient(f func(*client)) {
	for _, s := range r.all.All() {
		c := s.Protocol().(*client)
		c.mu.Lock()
		f(c)
		c.mu.Unlock()
	}
}

// §5.3, §5.4, §9.2: whoever is not the session's client learns nothing.
func TestStrangers(t *testing.T) {
	r := newRig(t, func(r *rig) {
		settings := session.Default()
		settings.Identity = []string{"Authorization"}
		r.h.Session = &settings
	})
	c := r.raw()
	c.header.Set("Authorization", "mine")
	l := c.websocket()
	b := r.back.next()
	neighbour := r.raw()
	neighbour.header.Set("Authorization", "mine")
	neighbour.websocket()
	for name, change := range map[string]func(*raw){
		"another's token": func(s *raw) { s.token = neighbour.token },
		"session":         func(s *raw) { s.session = "x" + s.session[1:] },
		"token":           func(s *raw) { s.token = "AAAAAAAAAAAAAAAAAAAAAA" },
		"attempt":         func(s *raw) { s.attempt = wire.NewAttempt() },
		"identity":        func(s *raw) { s.header.Set("Authorization", "other") },
		"origin":          func(s *raw) { s.header.Set("Origin", r.URL) },
	} {
		s := *c
		s.header = c.header.Clone()
		change(&s)
		wantFrames(t, s.ask(wire.Poll, s.hello()), `GONE "{\"reason\":\"unknown\"}"`)
		if name != "attempt" {
			wantFrames(t, s.ask(wire.Send, append(s.next(1), text(1, "mine")...)), `GONE "{\"reason\":\"unknown\"}"`)
		}
	}
	b.say("still")
	l.wantText(1, "still")
}

// §5.4: at most two tokens are valid: a lost WELCOME harms nobody, and what was used
// is void once a newer one is.
func TestTokens(t *testing.T) {
	r := newRig(t)
	c := r.raw()
	c.websocket()
	r.back.next()
	first := c.token
	lost := c.dial()
	lost.send(c.hello())
	lost.frame() // and is not heeded
	second := c.websocket()
	if c.token == first {
		t.Error("no new token was offered")
	}
	second.send(text(1, "x"))
	newest := c.token
	c.token = first
	c.websocket() // still valid: the newest was not used
	c.token = newest
	c.websocket()
	c.token = first
	l := c.dial()
	l.send(c.hello())
	l.wantGone("unknown")
}

// §5.3: a HELLO that cannot go on ends the session.
func TestGap(t *testing.T) {
	r := newRig(t)
	c := r.raw()
	c.websocket()
	b := r.back.next()
	l := c.dial()
	l.send(c.hello(func(h *wire.Hello) { h.Lowest = 3 }))
	l.wantGone("gap")
	b.wantClose(codeGoingAway)
	l = c.dial()
	l.send(c.hello())
	l.wantGone("gap")
}
