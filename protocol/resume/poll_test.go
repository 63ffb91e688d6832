package resume

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sidecar/protocol/resume/wire"
)

// §3.4: a poll opens, and messages go both ways.
func TestPollOpens(t *testing.T) {
	inEveryWay(t, func(t *testing.T, r *rig) {
		c := r.raw()
		wantFrames(t, c.poll())
		b := r.back.next()
		if got, want := (<-r.back.asked).RequestURI, "/chat?room=1&x=%20"; got != want {
			t.Errorf("backend was asked for %q; want %q", got, want)
		}
		answers := make(chan []wire.Frame)
		go func() { answers <- c.ask(wire.Poll, append(c.next(1), text(1, "hello")...)) }()
		b.want("hello")
		b.say("hello to you")
		all := <-answers
		wantTaken(t, all[0], 1)
		wantFrames(t, all[1:], `DATA 1+0 more=false "hello to you" `)
		c.got.Received = 1
		go func() { answers <- c.ask(wire.Poll, c.next(1)) }()
		b.say("and more")
		all = <-answers
		wantTaken(t, all[0], 1)
		wantFrames(t, all[1:], `DATA 2+0 more=false "and more" `)
		c.got.Received = 2
		wantFrames(t, c.ask(wire.Send, append(c.next(1), text(2, "by send")...)), "ACK 2 0 0")
		b.want("by send")
		wantFrames(t, c.ask(wire.Poll, append(c.next(1), wire.AppendPing(nil, []byte("now"))...)), "ACK 2 0 0", `PONG "now"`)
	})
}

// §3.4: what an answer held that was lost or cut comes again.
func TestPollAnswerIsLost(t *testing.T) {
	inEveryWay(t, func(t *testing.T, r *rig) {
		c := r.raw()
		c.poll()
		b := r.back.next()
		b.say("one")
		wantFrames(t, c.ask(wire.Poll, c.next(1)), "ACK 0 0 0", `DATA 1+0 more=false "one" `)
		b.say("two")
		var all []wire.Frame
		for len(all) < 3 { // the first may hold "one" alone
			all = c.ask(wire.Poll, c.next(1))
		}
		wantFrames(t, all, "ACK 0 0 0", `DATA 1+0 more=false "one" `, `DATA 2+0 more=false "two" `)
		big := strings.Repeat("x", 100_000)
		c.got.Received = 2
		b.say(big)
		c.ask(wire.Poll, c.next(1))
		c.got.Partial = 70_000
		all = c.ask(wire.Poll, c.next(1))
		if d, err := wire.ParseData(all[1].Body); err != nil || d.Number != 3 || d.Offset != 70_000 || d.More || len(d.Payload) != 30_000 {
			t.Errorf("got %s; want the rest of message 3", show(all[1]))
		}
	})
}

// §3.2: what is no request of the protocol is refused before its body counts.
func TestRequestsAreChecked(t *testing.T) {
	r := newRig(t)
	c := r.raw()
	for _, x := range []struct {
		name   string
		change func(*http.Request)
		want   int
	}{
		{"method", func(r *http.Request) { r.Method = "PUT" }, 405},
		{"type", func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 415},
		{"no type", func(r *http.Request) { r.Header.Del("Content-Type") }, 415},
		{"encoding", func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 415},
		{"origin", func(r *http.Request) { r.Header.Set("Origin", "https://elsewhere.example") }, 403},
		{"large", func(r *http.Request) {
			r.ContentLength, r.Body = wire.MaxBody+1, io.NopCloser(strings.NewReader(strings.Repeat("x", wire.MaxBody+1)))
		}, 413},
		{"no frame", func(r *http.Request) { r.ContentLength, r.Body = 4, io.NopCloser(strings.NewReader("<htm")) }, 400},
		{"preflight", func(r *http.Request) { r.Method = "OPTIONS" }, 204},
	} {
		req := c.request(wire.Poll, c.hello())
		x.change(req)
		res, err := c.http.Do(req)
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		res.Body.Close()
		if res.StatusCode != x.want {
			t.Errorf("%s: status = %d; want %d", x.name, res.StatusCode, x.want)
		}
		h := res.Header
		if h.Get("Cache-Control") == "" || h.Get("Vary") == "" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers are %v", x.name, h)
		}
	}
	if n := len(r.back.asked); n > 0 {
		t.Errorf("the backend was asked %d times; want never", n)
	}
}

// §3.3: a stream opens with a PAD, and what goes up goes by sends.
func TestStreamOpens(t *testing.T) {
	inEveryWay(t, func(t *testing.T, r *rig) {
		c := r.raw()
		res := c.post(wire.Stream, c.hello())
		defer res.Body.Close()
		pad := make([]byte, 2048)
		if _, err := io.ReadFull(res.Body, pad); err != nil || wire.Type(pad[0]) != wire.TypePad {
			t.Fatalf("the answer begins with %q, %v", pad[:4], err)
		}
		if _, rest, err := wire.Split(pad); err != nil || len(rest) > 0 {
			t.Errorf("the PAD leaves %d bytes, %v; want 2048 in all", len(rest), err)
		}
		l := &line{t: t, c: c, body: res.Body, buf: make([]byte, 100)}
		if w := c.welcomed(l.frame()); w.Rotate != 55_000 || w.Heartbeat != 20_000 {
			t.Errorf("WELCOME = %+v", *w)
		}
		for k, want := range map[string]string{"Content-Type": wire.ContentType, "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no", "Vary": "Origin"} {
			if got := res.Header.Get(k); got != want {
				t.Errorf("%s = %q; want %q", k, got, want)
			}
		}
		b := r.back.next()
		b.say("one")
		l.wantText(1, "one")
		wantFrames(t, c.ask(wire.Send, append(c.next(1), text(1, "up")...)), "ACK 1 0 0")
		b.want("up")
		big := strings.Repeat("y", 200_000)
		b.say(big)
		var got []byte
		for more := true; more; {
			f := l.frame()
			if f.Type == wire.TypeData {
				d, _ := wire.ParseData(f.Body)
				got, more = append(got, d.Payload...), d.More
			}
		}
		if string(got) != big {
			t.Errorf("a message of %d bytes came as %d", len(big), len(got))
		}
		wantFrames(t, c.ask(wire.Send, append(c.next(1), wire.Close{Number: 2, Code: 1000}.Append(nil)...)), "ACK 2 0 0")
		b.wantClose(1000)
		l.want(`CLOSE 3 1000 ""`)
		c.got.Received = 3
		c.ask(wire.Send, c.next(1))
		if _, err := l.read(); err != io.EOF {
			t.Errorf("the stream ends with %v; want EOF", err)
		}
		r.wantSessions(0)
	})
}

// §6.3: carriers change under traffic, each kind to each.
func TestUseChangesCarriers(t *testing.T) {
	inEveryWay(t, func(t *testing.T, r *rig) {
		c := r.raw()
		ws := c.websocket()
		b := r.back.next()
		b.say("1")
		ws.wantText(1, "1")
		st := c.stream(c.hello(func(h *wire.Hello) { h.Use = 0 }))
		st.generation = c.last
		c.welcomed(st.frame())
		b.say("2")
		ws.wantText(2, "2")
		c.turn++
		c.ask(wire.Send, append(c.next(st.generation), wire.Use{Turn: c.turn, Generation: st.generation}.Append(nil)...))
		b.say("3")
		st.wantText(3, "3")
		// An older turn changes nothing.
		ws.send(wire.Use{Turn: c.turn, Generation: ws.generation}.Append(nil))
		b.say("4")
		st.wantText(4, "4")
		c.turn++
		ws.send(wire.Use{Turn: c.turn, Generation: ws.generation}.Append(nil), ack(3))
		ws.wantText(4, "4")
		b.say("5")
		ws.wantText(5, "5")
		// A poll that is not in use is answered at once.
		wantFrames(t, c.poll(func(h *wire.Hello) { h.Use = 0; h.Received = 5 }))
		c.got.Received = 5
		start := time.Now()
		wantFrames(t, c.ask(wire.Poll, c.next(c.last)), "ACK 0 0 0")
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("the poll was held for %v; want none", d)
		}
	})
}
