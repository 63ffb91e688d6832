package engineio

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecar/session"
)

// TestSocketWaitsForTheLastAnswer: what an answer carries comes first, however long
// the client takes to read it.
func TestSocketWaitsForTheLastAnswer(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		c := r.polling()
		b := r.back.next()
		large := strings.Repeat("x", 12<<20)
		conn := c.rawPoll()
		b.say(large)
		e := c.engine()
		writing := func() bool {
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.writing > 0
		}
		eventually(t, "the answer is on its way", true, writing)
		p := c.upgrading()
		p.say(probe)
		p.want(answered)
		p.say("5")
		p.say("4up")
		b.want("up")
		b.say("behind")
		held := int64(1<<10 + 64 + len(large) + 64 + len("behind"))
		eventually(t, "bytes held", held, r.all.Held)
		c.wantFault(c.get(), 400, 3)
		heard, pongs := make(chan bool, 1), make(chan bool, 3)
		p.SetPongHandler(func(string) error { pongs <- true; return nil })
		go func() { p.want("4behind"); heard <- true }()
		for range 3 { // each has the socket's writer look for what there is to write
			p.WriteControl(9, nil, time.Now().Add(patience))
			<-pongs
		}
		if !writing() {
			t.Fatal("the answer is out already; make it larger")
		}
		select {
		case <-heard:
			t.Fatal("the WebSocket overtook the answer")
		default:
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || string(body) != "4"+large {
			t.Fatalf("the answer has %d bytes (%v); want %d", len(body), err, len(large)+1)
		}
		select {
		case <-heard:
		case <-time.After(patience):
			t.Fatal("nothing came by the WebSocket")
		}
	}, func(r *rig) { r.h.Session.Window = 64 << 20 })
}

// rawPoll is a poll of a client that does not read.
func (c *client) rawPoll() net.Conn {
	c.t.Helper()
	d := net.Dialer{Timeout: patience}
	conn, err := d.Dial("tcp", c.r.Listener.Addr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	conn.(*net.TCPConn).SetReadBuffer(16 << 10)
	fmt.Fprintf(conn, "GET /app/engine.io/?%s HTTP/1.1\r\nHost: x\r\n\r\n", c.query())
	c.wantOpen()
	return conn
}

// TestPingIsDueWhileAnAnswerIsRead: a client that has yet to read it cannot answer.
func TestPingIsDueWhileAnAnswerIsRead(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		c := r.polling()
		b := r.back.next()
		conn := c.rawPoll()
		large := strings.Repeat("x", 12<<20)
		b.say(large)
		e := c.engine()
		due := func() (asked bool, at time.Time) {
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.beat.asked && e.writing > 0, e.beat.at
		}
		eventually(t, "the answer is on its way", true, func() bool {
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.writing > 0
		})
		e.mu.Lock()
		e.beat.at = time.Now() // and not at some time after the handshake, when the answer may not be there
		e.beat.timer.Reset(0)
		e.mu.Unlock()
		eventually(t, "the ping is due", true, func() bool { asked, _ := due(); return asked })
		_, at := due()
		eventually(t, "the time is up, twice", true, func() bool { _, now := due(); return now.Sub(at) > 2*r.h.Settings.PingTimeout-1 })
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, res.Body); err != nil || n != int64(len(large))+1 {
			t.Fatalf("the answer has %d bytes (%v); want %d", n, err, len(large)+1)
		}
		c.wantGet("2")
		c.wantPost("3\x1e4hello")
		b.want("hello")
	}, func(r *rig) {
		r.h.Settings.PingTimeout = time.Second
	})
}

// TestAnswerIsLostInTheChange: messages that the client cannot have are the session's
// end, and never left out.
func TestAnswerIsLostInTheChange(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		c := r.polling()
		b := r.back.next()
		conn := c.rawPoll()
		b.say(strings.Repeat("x", 12<<20))
		e := c.engine()
		eventually(t, "the answer is on its way", true, func() bool {
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.writing > 0
		})
		p := c.upgrading()
		p.say("5")
		p.say("4up")
		b.want("up")
		b.say("behind")
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
		p.wantNothingBut(codeGoingAway)
		b.wantClose(codeGoingAway)
		r.wantSessions(0)
	})
}

// TestUpgradeUnderTraffic: both ways, with polls and POSTs up to the moment of the
// change; nothing is lost, doubled or out of order.
func TestUpgradeUnderTraffic(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		for range 8 {
			c := r.polling()
			upgradeUnderTraffic(t, c, r.back.next())
		}
	})
}

func upgradeUnderTraffic(t *testing.T, c *client, b *peer) {
	const all = 300
	ready := make(chan struct{}, 2*all)
	go func() {
		for i := range all {
			if b.WriteMessage(1, fmt.Append(nil, i)) != nil {
				return
			}
			<-ready // one for each that came up, so that both ways last
		}
	}()
	up, down := make(chan string, 2*all), 0
	go func() {
		for range all {
			_, m, err := b.ReadMessage()
			if err != nil {
				break
			}
			up <- string(m)
			ready <- struct{}{}
		}
		close(up)
	}()
	next := func(packet string) {
		t.Helper()
		if want := fmt.Sprint("4", down); packet != want {
			t.Fatalf("got packet %q; want %q", packet, want)
		}
		down++
	}
	sent := 0
	p := c.upgrading()
	for probed := false; ; {
		a := c.get()
		if a.status != 200 {
			t.Fatalf("poll got %d %q", a.status, a.body)
		}
		if a.body == "6" {
			break
		}
		for _, packet := range strings.Split(a.body, "\x1e") {
			next(packet)
		}
		c.wantPost(fmt.Sprint("4", sent, "\x1e4", sent+1))
		if sent += 2; sent >= all/10 && !probed {
			p.say(probe)
			p.want(answered)
			probed = true
		}
		if sent >= all/2 {
			break
		}
	}
	p.say("5")
	go func() {
		for ; sent < all; sent++ {
			p.WriteMessage(1, fmt.Append(nil, "4", sent))
		}
	}()
	for down < all {
		m, _ := p.hear()
		next(m)
	}
	count := 0
	for m := range up {
		if m != fmt.Sprint(count) {
			t.Fatalf("backend got %q; want %d", m, count)
		}
		count++
	}
	if count != all {
		t.Errorf("backend got %d messages; want %d", count, all)
	}
	c.engine().session.End(session.Left, session.Close{Code: codeNormal})
	b.Close()
}

// TestChangeWaitsForThePost: what a POST has begun to bring comes whole, and ahead of
// what comes by the WebSocket.
func TestChangeWaitsForThePost(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.back.write = func() { time.Sleep(10 * time.Millisecond) }
		var packets, want []string
		for i := range 3 * batch {
			want = append(want, fmt.Sprint(i))
			packets = append(packets, fmt.Sprint("4", i))
		}
		want = append(want, "behind")
		posted := make(chan string, 1)
		go func() { posted <- b.do("POST", strings.Join(packets, "\x1e")) }()
		b.at(100 * time.Millisecond)
		p := b.upgrade(probe, "5", "4behind")
		if got := <-posted; got != "ok" {
			t.Errorf("the POST got %q; want ok", got)
		}
		b.at(2 * time.Second)
		if !slices.Equal(b.back.got, want) {
			t.Errorf("backend got %q; want %q", b.back.got, want)
		}
		b.e.session.Deliver(session.Message{Data: []byte("down")})
		p.want("4down")
	})
}

// TestChangeThatWaitedTooLong: a client whose backend is slow goes on polling.
func TestChangeThatWaitedTooLong(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.back.write = func() { time.Sleep(15 * time.Second) }
		posted := make(chan bool)
		go func() { b.post("4slow"); close(posted) }()
		b.at(time.Second)
		p := b.upgrade(probe, "5")
		p.wantClose(codeNoStatus)
		if got := b.age(); got >= 15*time.Second {
			t.Errorf("the WebSocket was closed at %v; want before the backend is ready", got)
		}
		b.at(16 * time.Second)
		b.e.session.Deliver(session.Message{Data: []byte("down")})
		b.wantPoll("4down", 16*time.Second)
		if <-posted; fmt.Sprint(b.back.got) != "[slow]" {
			t.Errorf("backend got %q; want the POST's message", b.back.got)
		}
	})
}

// TestPollIsGivenUpInTheChange: it is the transport no more.
func TestPollIsGivenUpInTheChange(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		p := b.upgrade(probe, "5")
		b.at(time.Second)
		b.e.vanish() // as the poll's client leaves before the answer that refuses it
		b.e.session.Deliver(session.Message{Data: []byte("down")})
		p.want("4down")
	})
}
