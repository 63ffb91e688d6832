package resume

import (
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/heartbeat"
	"sidecar/protocol/resume/wire"
	"sidecar/session"
)

// §3.1: a WebSocket has 10 s to say who it is.
func TestHelloInTime(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		l := b.connect()
		l.wantEnd(codePolicy)
		b.wantAge("the WebSocket ended", helloTime)
		l.ws.Close()
	})
}

// §10: a WebSocket that is silent is asked, and given up after that.
func TestSilentWebSocket(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		l := b.attach()
		asked := false
		for {
			f, err := l.read()
			if err != nil {
				break
			}
			if f.Type == wire.TypePing {
				if got := b.age(); got < 10*time.Second || got > 20*time.Second {
					t.Errorf("asked after %v; want half the interval to the whole", got)
				}
				asked, b.born = true, b.born.Add(b.age()) // from here on
			}
		}
		if !asked {
			t.Error("it was not asked")
		}
		b.wantAge("given up", 10*time.Second+secondLook)
		l.ws.Close()
		synctest.Wait()
		b.at(10*time.Second + secondLook + 59*time.Second)
		if why := b.c.session.Ended(); why != 0 {
			t.Errorf("the session ended by %v after 59 s", why)
		}
		b.at(10*time.Second + secondLook + 60*time.Second)
		if why := b.c.session.Ended(); why != session.Expired {
			t.Errorf("after 60 s the session's end is %v; want expired", why)
		}
	}, func(h *Handler) {
		h.Heartbeat = heartbeat.Policy{Interval: 20 * time.Second, Timeout: 10 * time.Second}
	})
}

// §10: who answers lives; our PONG comes with the mark.
func TestAnswersToPings(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		l := b.attach()
		l.send(wire.AppendPing(nil, []byte("mark")))
		l.want(`PONG "mark"`)
		for b.age() < 5*time.Minute {
			if f := l.frame(); f.Type == wire.TypePing {
				l.send(wire.AppendPong(nil, f.Body))
			}
		}
		if why := b.c.session.Ended(); why != 0 {
			t.Errorf("the session ended: %v", why)
		}
		l.ws.Close()
	})
}

// §7.4: an ACK is due one second after the first message.
func TestAckIsDue(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		l := b.attach()
		b.at(3 * time.Second)
		l.send(text(1, "a"))
		b.at(3500 * time.Millisecond)
		l.send(text(2, "b"))
		wantFrames(t, []wire.Frame{l.frame()}, "ACK 2 0 0")
		b.wantAge("the ACK came", 4*time.Second)
		l.ws.Close()
	})
}

// §3.4: a poll is held for resume.poll, and with DATA for a second.
func TestPollIsHeld(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		wantFrames(t, b.ask(wire.Poll, b.hello())[1:])
		wantFrames(t, b.ask(wire.Poll, b.next(1)), "ACK 0 0 0")
		b.wantAge("the first answer came", 25*time.Second)
		wantFrames(t, b.ask(wire.Poll, append(b.next(1), text(1, "a")...)), "ACK 1 0 0")
		b.wantAge("the answer to DATA came", 26*time.Second)
		wantFrames(t, b.ask(wire.Poll, append(b.next(1), text(1, "a")...)), "ACK 1 0 0")
		b.wantAge("the answer to DATA that came before", 27*time.Second)
		wantFrames(t, b.ask(wire.Poll, append(b.next(1), text(3, "c")...)), "ACK 1 0 0")
		b.wantAge("the answer to DATA that was dropped", 27*time.Second)
		// The next does not come: the client is away, and then gone.
		b.at(27*time.Second + 10*time.Second + 60*time.Second - time.Millisecond)
		if why := b.c.session.Ended(); why != 0 {
			t.Errorf("the session ended by %v at %v", why, b.age())
		}
		b.at(27*time.Second + 10*time.Second + 60*time.Second)
		if why := b.c.session.Ended(); why != session.Expired {
			t.Errorf("the session's end is %v; want expired", why)
		}
	})
}

// §3.4: another poll of the generation ends the one that is held.
func TestPollOvertaken(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.ask(wire.Poll, b.hello())
		first := make(chan []wire.Frame)
		body := b.next(1)
		go func() { first <- b.ask(wire.Poll, body) }()
		b.at(time.Second)
		second := make(chan []wire.Frame)
		go func() { second <- b.ask(wire.Poll, body) }()
		wantFrames(t, <-first, "ACK 0 0 0")
		b.wantAge("the first was answered", time.Second)
		b.c.session.Deliver(session.Message{Data: []byte("x")})
		wantFrames(t, <-second, "ACK 0 0 0", `DATA 1+0 more=false "x" `)
	})
}

// §3.5: a send waits for the backend, but not for longer than a second; meanwhile
// frames are read on.
func TestSendToASlowBackend(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.ask(wire.Poll, b.hello())
		b.back.block = make(chan struct{})
		wantFrames(t, b.ask(wire.Send, append(b.next(1), text(1, "a")...)), "ACK 0 1 0")
		b.wantAge("the answer came", time.Second)
		wantFrames(t, b.ask(wire.Poll, append(b.next(1), wire.AppendPing(nil, nil)...)), "ACK 0 1 0", `PONG ""`)
		b.wantAge("PONG came", time.Second)
		done := make(chan []wire.Frame)
		go func() { done <- b.ask(wire.Send, append(b.next(1), text(2, "b")...)) }()
		b.at(1500 * time.Millisecond)
		close(b.back.block)
		wantFrames(t, <-done, "ACK 2 0 0")
		b.wantAge("the second answer came", 1500*time.Millisecond)
	})
}

// §3.3, §10: a stream pings when it has nothing else, and ends behind a whole frame
// when it is old.
func TestStreamRotates(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		l := b.stream(b.hello())
		b.welcomed(l.frame())
		pings := 0
		for {
			f, err := l.read()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if f.Type == wire.TypePing {
				pings++
			}
		}
		b.wantAge("the stream ended", 55*time.Second)
		if pings < 2 || pings > 3 {
			t.Errorf("%d pings in 55 s; want 2 or 3", pings)
		}
		synctest.Wait()
		b.at(55*time.Second + 60*time.Second)
		if why := b.c.session.Ended(); why != session.Expired {
			t.Errorf("the session's end is %v; want expired 60 s after its stream", why)
		}
	})
}

// §9.3: sending by a carrier that is not in use counts as coming back.
func TestSendingKeepsTheSession(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		for n := range uint64(5) {
			b.at(time.Duration(n+1) * 50 * time.Second)
			b.ask(wire.Send, append(b.next(1), text(n+1, "x")...))
		}
		if why := b.c.session.Ended(); why != 0 {
			t.Errorf("the session ended by %v", why)
		}
	})
}

// §8.4: a client that says that it leaves, and does, is not waited for.
func TestClientLeaves(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		l := b.attach()
		l.send(wire.Close{Number: 1, Code: 1001}.Append(nil))
		b.at(7 * time.Second)
		if why := b.c.session.Ended(); why != 0 {
			t.Errorf("the session ended by %v while its client was there", why)
		}
		if got := b.back.closed; got == nil || got.Code != 1001 {
			t.Errorf("the backend was told %v; want 1001", got)
		}
		l.ws.Close()
		b.at(10*time.Second - time.Millisecond)
		if why := b.c.session.Ended(); why != 0 {
			t.Errorf("the session ended by %v at %v", why, b.age())
		}
		b.at(10 * time.Second)
		if why := b.c.session.Ended(); why != session.Left {
			t.Errorf("the session's end is %v; want left", why)
		}
	})
}

// §7.5: what waits for the backend is kept as it came, while more is read.
func TestWhatWaitsStaysAsItIs(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		l := b.attach()
		b.back.block = make(chan struct{})
		want := []string{"first", "other", "third"}
		for n, s := range want {
			l.send(text(uint64(n+1), s))
		}
		synctest.Wait()
		close(b.back.block)
		synctest.Wait()
		if got := b.back.got; !slices.Equal(got, want) {
			t.Errorf("the backend got %q; want %q", got, want)
		}
		l.ws.Close()
	})
}
