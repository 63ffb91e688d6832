package engineio

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestPollingEcho(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		c := r.polling()
		b := r.back.next()
		for range 3 {
			got := c.begun()
			c.wantPost("4hello")
			b.want("hello")
			b.say("hello")
			c.wantGot(got, "4hello")
			b.say("early")
			b.sayBinary("\x01\x02\x03\x04")
			c.wantRead("4early\x1ebAQIDBA==")
			c.wantPost("bAQIDBA==\x1e4\x1e4grüße")
			b.wantBinary("\x01\x02\x03\x04")
			b.want("")
			b.want("grüße")
		}
	})
}

// wantRead polls until it has so much.
func (c *client) wantRead(want string) {
	c.t.Helper()
	got := c.get().body
	for len(got) < len(want) {
		got += "\x1e" + c.get().body
	}
	if got != want {
		c.t.Fatalf("polls got %q; want %q", clip(got), clip(want))
	}
}

func TestAnswerToAPost(t *testing.T) {
	r := newRig(t)
	a := r.polling().post("4a")
	if a.status != 200 || a.body != "ok" || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("POST got %d %q %v", a.status, a.body, a.header)
	}
}

// TestRepliesLeaveTogether: not each time, on a machine that is busy for longer than
// an answer lingers; TestAnswersLinger has the times.
func TestRepliesLeaveTogether(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		r.back.echo = true
		c := r.polling()
		together := map[string]int{}
		take := func(a answer, want string) {
			t.Helper()
			got := a.body
			if got == want {
				together[want]++
			}
			for got != want {
				if got += "\x1e" + c.get().body; !strings.HasPrefix(want, got) {
					t.Fatalf("polls got %q; want %q", got, want)
				}
			}
		}
		const after, before = "4one\x1e4two\x1e4three", "4one\x1ebAQI="
		for range 20 {
			c.wantPost(after)
			take(c.get(), after)
			got := c.begun()
			c.wantPost(before)
			take(c.got(got), before)
		}
		if together[after] == 0 || together[before] == 0 {
			t.Errorf("replies came together %v times of 20", together)
		}
	})
}

// TestPollsNeverMeet polls again the moment that an answer is there, while the
// backend sends at any time and POSTs go beside.
func TestPollsNeverMeet(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		r.back.echo = true
		c := r.polling()
		const all = 1000
		posted := make(chan error, 1)
		go func() {
			for i := range all {
				a, err := c.do(t.Context(), "POST", c.query(), fmt.Sprint("4", i))
				if err != nil || a.body != "ok" {
					posted <- fmt.Errorf("POST %d got %d %q, %v", i, a.status, a.body, err)
					return
				}
			}
			posted <- nil
		}()
		for next := 0; next < all; {
			a := c.get()
			if a.status != 200 {
				t.Fatalf("poll got %d %q after %d messages", a.status, a.body, next)
			}
			for _, p := range strings.Split(a.body, "\x1e") {
				if want := fmt.Sprint("4", next); p != want {
					t.Fatalf("got packet %q; want %q", p, want)
				}
				next++
			}
		}
		if err := <-posted; err != nil {
			t.Error(err)
		}
	})
}

func small(r *rig) { r.h.Settings.MaxPayload = 1 << 10 }

func TestLargePost(t *testing.T) {
	r := newRig(t, small)
	c := r.polling()
	b := r.back.next()
	most := "4" + strings.Repeat("x", 1<<10-1)
	c.wantPost(most)
	b.want(most[1:])
	for what, change := range map[string]func(*http.Request){
		"announced": func(*http.Request) {},
		"chunked":   func(r *http.Request) { r.ContentLength = -1 },
	} {
		if a := c.ask("POST", c.query(), most+"x", change); a.status != 413 || a.body != "" {
			t.Errorf("%s: one byte too many got %d %q; want 413 and nothing", what, a.status, a.body)
		}
	}
	if a := c.ask("POST", c.query(), "4a", func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }); a.status != 415 || a.body != "" {
		t.Errorf("a body that says gzip got %d %q; want 415 and nothing", a.status, a.body)
	}
	c.wantPost("4still there")
	b.want("still there")
}

func TestBinaryPost(t *testing.T) {
	r := newRig(t)
	c := r.polling()
	a := c.ask("POST", c.query(), "4lost", func(r *http.Request) { r.Header.Set("Content-Type", "application/octet-stream") })
	if a.status != 400 || a.body != "" {
		t.Errorf("got %d %q; want 400 and nothing", a.status, a.body)
	}
	c.wantUnknown()
	r.back.next().wantClose(codeGoingAway)
}

func TestSecondPoll(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		c := r.polling()
		first := c.begun()
		if a := c.get(); a.status != 400 || a.body != "" {
			t.Errorf("the second poll got %d %q; want 400 and nothing", a.status, a.body)
		}
		c.wantGot(first, "1")
		c.wantUnknown()
		r.back.next().wantClose(codeGoingAway)
	})
}

// slowPost is a POST whose body is not there yet.
func (c *client) slowPost() net.Conn {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.r.Listener.Addr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "POST /app/engine.io/?%s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n4he", c.query())
	e := c.engine()
	eventually(c.t, "the POST has begun", true, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.posted
	})
	return conn
}

func TestSecondPost(t *testing.T) {
	r := newRig(t)
	c := r.polling()
	first := c.slowPost()
	poll := c.begun()
	if a := c.post("4a"); a.status != 400 || a.body != "" {
		t.Errorf("the second POST got %d %q; want 400 and nothing", a.status, a.body)
	}
	c.wantGot(poll, "1")
	c.wantUnknown()
	fmt.Fprint(first, "ll")
	first.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 12)
	if _, err := first.Read(b); err != nil || string(b) != "HTTP/1.1 400" {
		t.Errorf("the first POST got %q, %v; want 400", b, err)
	}
	r.back.next().wantClose(codeGoingAway)
}

func TestClientLeavesInAPost(t *testing.T) {
	r := newRig(t)
	c := r.polling()
	c.slowPost().Close()
	r.back.next().wantClose(codeGoingAway)
	r.wantSessions(0)
	c.wantUnknown()
}

func TestAbandonedPoll(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		c := r.polling()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { _, err := c.do(ctx, "GET", c.query(), ""); ended <- err }()
		c.wantOpen()
		cancel()
		if err := <-ended; err == nil {
			t.Fatal("the poll was answered")
		}
		r.back.next().wantClose(codeGoingAway)
		r.wantSessions(0)
		c.wantUnknown()
	})
}

func TestBadPackets(t *testing.T) {
	for _, c := range []struct{ body, before string }{
		{"abc", ""}, {"7", ""}, {"4a\x1e", "a"}, {"4a\x1e\x1e4b", "a"}, {"4a\x1e9\x1e4b", "a"}, {"2", ""}, {"4a\x1e2probe\x1e4b", "a"}, {"4\xff", ""}, {"", ""},
	} {
		t.Run(c.body, func(t *testing.T) {
			r := newRig(t)
			client := r.polling()
			b := r.back.next()
			poll := client.begun()
			client.wantFault(client.post(c.body), 400, 3)
			client.wantGot(poll, "1")
			client.wantUnknown()
			if c.before != "" {
				b.want(c.before)
			}
			b.wantNothingBut(codeGoingAway)
		})
	}
}

// wantNothingBut is wantClose with no message before it.
func (p *peer) wantNothingBut(code int) {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(p.patience))
	if _, m, err := p.ReadMessage(); err == nil {
		p.t.Fatalf("got message %q; want close %d", m, code)
	} else if want := fmt.Sprintf("websocket: close %d", code); !strings.HasPrefix(err.Error(), want) {
		p.t.Fatalf("the connection ended with %v; want %s", err, want)
	}
}

func TestPacketsThatAreLetPass(t *testing.T) {
	r := newRig(t)
	c := r.polling()
	c.wantPost("3\x1e5\x1e6\x1e0{}\x1e3probe\x1e4a")
	r.back.next().want("a")
}

func TestOtherMethodsLeaveTheSessionAlone(t *testing.T) {
	r := newRig(t)
	c := r.polling()
	for _, method := range []string{"PUT", "DELETE", "PATCH", "HEAD"} {
		if a := c.ask(method, c.query(), ""); a.status != 400 {
			t.Errorf("%s got %d; want 400", method, a.status)
		}
	}
	a := c.ask("GET", c.query(), "4a")
	c.wantFault(a, 400, 3)
	c.wantPost("4a")
	r.back.next().want("a")
}

// bye closes properly.
func (p *peer) bye(code int) {
	p.t.Helper()
	frame := []byte{byte(code >> 8), byte(code)}
	if err := p.WriteControl(8, frame, time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
}
