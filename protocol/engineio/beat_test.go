package engineio

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/session"
)

func TestPingByPolling(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.wantPoll("2", 25*time.Second)
		b.at(30 * time.Second)
		b.post("3")
		b.wantPoll("2", 55*time.Second) // counted from the pong
		b.post("3")
		b.at(90 * time.Second)
		b.wantPoll("2", 90*time.Second) // it is due since 80 s
		b.post("3")
		b.e.session.Deliver(session.Message{Data: []byte("a")})
		b.wantPoll("4a", 90*time.Second)
		b.wantPoll("2", 115*time.Second)
	})
}

func TestPingOnABusyLink(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		for i := range 24 {
			b.e.session.Deliver(session.Message{Data: []byte("down")})
			b.wantPoll("4down", time.Duration(i)*time.Second)
			b.post("4up")
			b.at(time.Duration(i+1) * time.Second)
		}
		b.wantPoll("2", 25*time.Second)
	})
}

func TestPongThatNobodyAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.at(5 * time.Second)
		b.post("3")
		b.at(26 * time.Second)
		b.post("3") // the ping is due, and has not left
		b.wantPoll("2", 26*time.Second)
		b.wantEnd(session.Expired, 45*time.Second)
	})
}

func TestSilentClient(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.wantPoll("2", 25*time.Second)
		b.wantPoll("1", 45*time.Second)
		b.wantEnd(session.Expired, 45*time.Second)
		if len(b.back.closed) != 1 || b.back.closed[0].Code != codeGoingAway {
			t.Errorf("backend was told %v; want 1001", b.back.closed)
		}
	})
	// The time runs even if no poll is there to carry the ping.
	inBubble(t, func(t *testing.T, b *bubble) {
		b.post("4a")
		b.wantEnd(session.Expired, 45*time.Second)
	})
}

func TestOtherPacketsGiveMoreTimeOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.wantPoll("2", 25*time.Second)
		b.post("4a")
		b.at(50 * time.Second)
		b.post("4a")
		b.wantEnd(session.Expired, 65*time.Second)
	})
	// What came before the ping does not count.
	inBubble(t, func(t *testing.T, b *bubble) {
		b.post("4a")
		b.at(24 * time.Second)
		b.post("4a")
		b.wantPoll("2", 25*time.Second)
		b.wantEnd(session.Expired, 45*time.Second)
	})
}

func TestFirstRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) { b.wantEnd(session.Expired, 10*time.Second) })
	inBubble(t, func(t *testing.T, b *bubble) { b.wantEnd(session.Expired, 500*time.Millisecond) },
		func(s *Settings) { s.PingInterval, s.PingTimeout = 300*time.Millisecond, 200*time.Millisecond })
	inBubble(t, func(t *testing.T, b *bubble) { b.wantEnd(session.Expired, 10*time.Second) },
		func(s *Settings) { s.PingInterval = 5 * time.Second })
	for _, first := range []func(b *bubble){
		func(b *bubble) { b.post("4a") },
		func(b *bubble) { go b.do("GET", "") },
		func(b *bubble) { b.upgrade("4what") },
	} {
		inBubble(t, func(t *testing.T, b *bubble) {
			b.at(10*time.Second - 1)
			first(b)
			b.wantEnd(session.Expired, 45*time.Second)
		})
	}
}

func TestPingOnASocket(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		p := b.upgrade(probe, "5")
		p.want("2")
		if got := b.age(); got != 25*time.Second {
			t.Errorf("the ping came at %v", got)
		}
		p.say("3")
		p.want("2")
		if got := b.age(); got != 50*time.Second {
			t.Errorf("the second ping came at %v", got)
		}
		p.say("4a")
		p.wantClose(codeGoingAway)
		b.wantEnd(session.Expired, 90*time.Second)
	})
}

// TestPingIsOutstandingInTheChange: the time to answer it does not stop.
func TestPingIsOutstandingInTheChange(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.wantPoll("2", 25*time.Second)
		b.upgrade("5")
		b.wantEnd(session.Expired, 45*time.Second)
	})
	inBubble(t, func(t *testing.T, b *bubble) { // in an answer that has not left, it goes by the WebSocket
		b.post("4a")
		b.at(26 * time.Second)
		p := b.upgrade(probe, "5")
		p.want("2")
		p.say("3")
		p.want("2")
		if got := b.age(); got != 51*time.Second {
			t.Errorf("the second ping came at %v", got)
		}
	})
}

// TestSlowBackendIsNotTheClientsSilence: its pong is behind what the backend has yet
// to take.
func TestSlowBackendIsNotTheClientsSilence(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.back.write = func() { time.Sleep(99 * time.Second) }
		b.wantPoll("2", 25*time.Second)
		b.post("4slow")
		if got := b.age(); got != 124*time.Second {
			t.Fatalf("the POST was answered at %v", got)
		}
		b.post("3")
		b.wantPoll("2", 149*time.Second)
	})
}

// TestTimeBehindALongAnswer: a client that had no chance to answer has as long for it
// as any other, once it has one.
func TestTimeBehindALongAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		conn, err := b.pipe.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /engine.io/?%s&sid=%s HTTP/1.1\r\nHost: x\r\n\r\n", polls, b.e.sid)
		b.at(24 * time.Second)
		b.e.session.Deliver(session.Message{Data: []byte("long")})
		b.at(30999 * time.Millisecond)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(res.Body); err != nil || string(got) != "4long" {
			t.Fatalf("the answer is %q, %v; want 4long", got, err)
		}
		b.wantPoll("2", 30999*time.Millisecond)
		b.at(33900 * time.Millisecond)
		b.post("3")
		b.wantPoll("2", 58900*time.Millisecond)
	}, func(s *Settings) { s.PingTimeout = 3 * time.Second })
}

func TestUpgradeTimes(t *testing.T) {
	for _, says := range [][]string{nil, {probe}} {
		inBubble(t, func(t *testing.T, b *bubble) {
			b.at(time.Second)
			p := b.upgrade(says...)
			p.wantClose(codeNoStatus)
			if got := b.age(); got != 11*time.Second {
				t.Errorf("the WebSocket was closed at %v; want after 10 s", got)
			}
			b.wantPoll("2", 25*time.Second)
			b.post("3")
			b.upgrade(probe, "5").want("2")
		})
	}
	inBubble(t, func(t *testing.T, b *bubble) { // the first noop, and the others
		b.upgrade(probe)
		b.wantPoll("6", 20*time.Millisecond)
		b.wantPoll("6", 120*time.Millisecond)
		b.at(200 * time.Millisecond)
		b.wantPoll("6", 220*time.Millisecond)
		b.e.session.Deliver(session.Message{Data: []byte("a")})
		b.wantPoll("4a", 220*time.Millisecond)
	})
}

func TestAnswersLinger(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.post("4a\x1e4b")
		b.e.session.Deliver(session.Message{Data: []byte("A")})
		b.wantPoll("4A", 5*time.Millisecond)
		b.at(time.Second)
		b.post("4a\x1e4b\x1e4c")
		go func() {
			for _, m := range []string{"A", "B", "C"} {
				time.Sleep(time.Millisecond)
				b.e.session.Deliver(session.Message{Data: []byte(m)})
			}
		}()
		b.wantPoll("4A\x1e4B\x1e4C", time.Second+3*time.Millisecond)
		b.post("4a")
		b.e.session.Deliver(session.Message{Data: []byte("A")})
		b.wantPoll("4A", time.Second+3*time.Millisecond)
	})
	inBubble(t, func(t *testing.T, b *bubble) { // what lingers when the client changes over goes there
		b.post("4a\x1e4b")
		go b.do("GET", "")
		synctest.Wait()
		b.e.session.Deliver(session.Message{Data: []byte("A")})
		b.e.mu.Lock()
		lingers := len(b.e.got)
		b.e.mu.Unlock()
		if lingers != 1 {
			t.Fatalf("%d messages linger; want 1", lingers)
		}
		p := b.upgrade("5")
		p.want("4A")
		b.e.session.Deliver(session.Message{Data: []byte("B")})
		p.want("4B")
		if got := b.age(); got != 0 {
			t.Errorf("the messages came at %v", got)
		}
	})
}

func TestBackendsCloseWaitsForThePoll(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.e.session.Deliver(session.Message{Data: []byte("last")})
		b.e.session.DeliverClose(session.Close{Code: 4001})
		b.at(9 * time.Second)
		b.post("4nobody")
		b.at(44 * time.Second)
		b.wantPoll("2\x1e4last\x1e1", 44*time.Second)
		b.wantEnd(session.Closed, 44*time.Second)
	})
}
