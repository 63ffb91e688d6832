package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"sidecar/access"
	"sidecar/loop"
	"sidecar/polling"
)

// A pollTest is a running server whose requests wait for the test to answer; /now
// is answered with whom it is from.
type pollTest struct {
	*running
	polls chan *polling.Poll
	gone  chan struct{}
}

func startPolls(t *testing.T, text string, args ...any) *pollTest {
	t.Helper()
	if !loop.Native {
		t.Skip("nothing is parked here")
	}
	p := &pollTest{polls: make(chan *polling.Poll, 10), gone: make(chan struct{}, 10)}
	p.running = start(t, Environment{}, parse(t, "upstream: ws://127.0.0.1:1\ndrain: {for: 2s}\n"+text, args...))
	p.lot.After = -1
	d := &polling.Desk{Guard: &access.Guard{}, Lot: p.lot}
	p.inForce.Load().table.find("", "/").plain = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/now" {
			d.Write(w, r, polling.Answer{Type: "text/plain", Body: []byte(r.RemoteAddr)})
			return
		}
		held, err := d.Hold(w, r, func() { p.gone <- struct{}{} })
		if err != nil {
			t.Errorf("Hold: %v", err)
			return
		}
		p.polls <- held
		held.Wait()
	})
	return p
}

// A poller is a client of a pollTest.
type poller struct {
	net.Conn
	r *bufio.Reader
}

func (p *pollTest) dial() *poller {
	p.t.Helper()
	c := dial(p.t, p.addr())
	return &poller{c, bufio.NewReader(c)}
}

func (c *poller) get(path string) { fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path) }

func (c *poller) answer(t *testing.T) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// parked waits until n connections are in the lot.
func (p *pollTest) parked(n int) {
	p.t.Helper()
	eventually(p.t, fmt.Sprint(n, " parked"), func() bool { return p.lot.Len() == n })
}

func say(s string) polling.Answer { return polling.Answer{Type: "text/plain", Body: []byte(s)} }

func TestAConnectionComesBackFromTheLot(t *testing.T) {
	p := startPolls(t, "")
	eventually(t, "accepting", func() bool { return p.slots.open() == 1 })
	c := p.dial()
	for i := range 50 {
		c.get("/poll")
		held := <-p.polls
		p.parked(1)
		if n := p.slots.open(); n != 2 {
			t.Fatalf("%d slots are taken; want the client's and that of accept", n)
		}
		held.Answer(say(fmt.Sprint(i)), nil)
		if _, b := c.answer(t); b != fmt.Sprint(i) {
			t.Fatalf("got %q; want %d", b, i)
		}
		c.get("/now")
		if _, b := c.answer(t); b != c.LocalAddr().String() {
			t.Fatalf("after that it is from %q; want %v", b, c.LocalAddr())
		}
	}
	c.get("/poll")
	<-p.polls
	p.parked(1)
	c.Close()
	<-p.gone
	eventually(t, "giving the slot back", func() bool { return p.slots.open() == 1 })
	p.parked(0)
}

func TestAnAddressOfAPROXYHeaderComesBackToo(t *testing.T) {
	p := startPolls(t, "proxy_protocol: true\ntrusted_proxies: [127.0.0.1]\n")
	c := p.dial()
	fmt.Fprint(c, "PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\n")
	for range 3 {
		c.get("/poll")
		held := <-p.polls
		p.parked(1)
		held.Answer(say("x"), nil)
		c.answer(t)
		c.get("/now")
		if _, b := c.answer(t); b != "192.0.2.7:1234" {
			t.Fatalf("it is from %q; want 192.0.2.7:1234", b)
		}
	}
}

// A connection that was in the lot may become a WebSocket, also where the handshake was
// there before the answer.
func TestAConnectionFromTheLotIsUpgraded(t *testing.T) {
	p := startPolls(t, "routes: [{path: /ws, upstream: %q}]\n", newApp(t).ws())
	const shake = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	for _, early := range []bool{false, true} {
		c := p.dial()
		c.get("/poll")
		held := <-p.polls
		p.parked(1)
		if early {
			io.WriteString(c, shake)
		}
		held.Answer(say("x"), nil)
		c.answer(t)
		if !early {
			io.WriteString(c, shake)
		}
		if res, err := http.ReadResponse(c.r, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("early %v: %v, %v; want a 101", early, res, err)
		}
		io.WriteString(c, "\x81\x82\x00\x00\x00\x00hi")
		echo := make([]byte, 4)
		if _, err := io.ReadFull(c.r, echo); err != nil || string(echo) != "\x81\x02hi" {
			t.Errorf("early %v: %q, %v; want the echo", early, echo, err)
		}
		c.Close()
		eventually(t, "giving the slot back", func() bool { return p.slots.open() == 1 })
	}
}

// What waits for a request is no slow head; what has begun one is.
func TestHeaderTimeoutAfterTheLot(t *testing.T) {
	p := startPolls(t, "limits: {header_timeout: 300ms}\n")
	c := p.dial()
	c.get("/poll")
	held := <-p.polls
	p.parked(1)
	held.Answer(say("x"), nil)
	c.answer(t)
	<-time.After(time.Second)
	c.get("/now")
	if res, _ := c.answer(t); res.StatusCode != 200 {
		t.Fatalf("after a pause got %d", res.StatusCode)
	}
	c.get("/poll")
	held = <-p.polls
	p.parked(1)
	held.Answer(say("x"), nil)
	c.answer(t)
	begun := time.Now()
	fmt.Fprint(c, "GET /now HT")
	closedIn(t, c)
	if d := time.Since(begun); d < 250*time.Millisecond || d > 3*time.Second {
		t.Errorf("half a head was cut after %v; want 300ms", d)
	}
}

func TestDrainOfPolls(t *testing.T) {
	p := startPolls(t, "")
	idle, held := p.dial(), p.dial()
	idle.get("/poll")
	first := <-p.polls
	p.parked(1) // answered before, it would idle in net/http
	first.Answer(say("x"), nil)
	idle.answer(t)
	held.get("/poll")
	poll := <-p.polls
	p.parked(2)
	p.stop()
	closedIn(t, idle)
	if !poll.Answer(say("bye"), nil) {
		t.Error("a poll could not be answered in the drain")
	}
	if res, b := held.answer(t); b != "bye" || !res.Close {
		t.Errorf("got %q, close %v; want bye and the end", b, res.Close)
	}
	closedIn(t, held)
	held.Close()
	if err := p.wait(time.Second); err != nil {
		t.Errorf("Run: %v", err)
	}
	if n := p.slots.open(); n != 0 {
		t.Errorf("%d slots are still taken", n)
	}
}

func TestDrainCutsPollsThatAreNotAnswered(t *testing.T) {
	p := startPolls(t, "")
	c := p.dial()
	c.get("/poll")
	<-p.polls
	p.parked(1)
	p.stop()
	if err := p.wait(4 * time.Second); !errors.Is(err, ErrDrain) {
		t.Errorf("Run: %v; want ErrDrain", err)
	}
	select {
	case <-p.gone:
	default:
		t.Error("who was cut is not gone")
	}
	closedIn(t, c)
	if n := p.slots.open(); n != 0 {
		t.Errorf("%d slots are still taken", n)
	}
}

func TestReturnsCloseWhomNobodyTakes(t *testing.T) {
	r := newReturns()
	a, b := net.Pipe()
	c, d := net.Pipe()
	r.giveBack(a)
	r.Close()
	r.giveBack(c)
	for _, end := range []net.Conn{b, d} {
		end.SetDeadline(time.Now().Add(patience))
		if _, err := end.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read %v; want the end", err)
		}
	}
	if _, err := r.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
}
