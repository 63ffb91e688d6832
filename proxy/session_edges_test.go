package proxy

import (
	"bufio"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/session"
)

// A gate is a server's side of a handshake over any connection.
type gate struct {
	http.ResponseWriter
	conn net.Conn
}

func (g gate) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return g.conn, bufio.NewReadWriter(bufio.NewReader(g.conn), bufio.NewWriter(g.conn)), nil
}

// A herald is a codec that says one thing, and keeps what it is told in the end.
type herald struct {
	say  []session.Message
	gone chan session.Close
}

func (h *herald) Receive(session.Message) *session.Close { return nil }
func (h *herald) Written()                               {}
func (h *herald) Gone(c session.Close)                   { h.gone <- c }
func (h *herald) Next(buf []session.Message) ([]session.Message, *session.Close) {
	buf = append(buf, h.say...)
	h.say = nil
	return buf, nil
}

// acceptOver accepts a client at the far end of a pipe, which has read the answer.
func acceptOver(t *testing.T, carriers *Carriers) (c *Carrier, far net.Conn) {
	t.Helper()
	near, far := pipe()
	r := httptest.NewRequest("GET", "/", nil)
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": testKey,
	} {
		r.Header.Set(name, value)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := far.Read(make([]byte, 4096))
		answered <- err
	}()
	c, err := carriers.Accept(gate{httptest.NewRecorder(), near}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	return c, far
}

// A client that takes nothing from the start is given up like any other: the time
// that the answer to its handshake had is not that of what follows.
func TestClientThatStallsAtOnceIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := acceptOver(t, &Carriers{Live: &Live{}})
		defer far.Close()
		h := &herald{say: []session.Message{{Data: []byte("hello")}}, gone: make(chan session.Close, 1)}
		c.Wake()
		c.Start(h)
		select {
		case got := <-h.gone:
			if got.Code != codeAbnormal {
				t.Errorf("codec was told %v; want code %d", got, codeAbnormal)
			}
		case <-time.After(2 * DefaultLimits().WriteTimeout):
			t.Error("client that takes nothing is not given up")
		}
	})
}

// A message that breaks the rules does so also when a close comes right behind it.
func TestBreachBeforeAClose(t *testing.T) {
	bad := func(p *peer) []byte {
		return append(p.frame(0x80|opText, "\xff"), p.frame(0x80|opClose, "\x03\xe8")...)
	}
	t.Run("client", func(t *testing.T) {
		h, front, back := open(t, "/", nil)
		front.send(bad(front))
		front.wantClose(codeInvalid)
		back.wantClose(codeInvalid)
		h.wantGone(codeInvalid)
	})
	t.Run("backend", func(t *testing.T) {
		_, front, back := open(t, "/", nil)
		back.send(bad(back))
		back.wantClose(codeInvalid)
		front.wantClose(codeInternal)
	})
}

// Any number of control frames may come inside a fragmented message.
func TestControlFramesInsideAMessage(t *testing.T) {
	_, front, back := open(t, "/", nil)
	front.send(front.frame(opText, "a"))
	for range floodBurst - 10 {
		front.send(front.frame(0x80|opPing, "x")) // each read by itself
		front.wantPong("x")
	}
	front.send(front.frame(0x80|opContinuation, "b"))
	back.want(0x80|opText, "ab")
}

// A query that a protocol's client named stays within the request line.
func TestTargetStaysInItsLine(t *testing.T) {
	a := askOf("GET", "/", nil)
	a.Target = &url.URL{Path: "/a", RawQuery: "b=1 HTTP/1.1\r\nX-Evil: 1\x00%20\x7f"}
	r, _, err := dialOnce(t, a, Limits{}, yes(""))
	if err != nil {
		t.Fatal(err)
	}
	if want := "/a?b=1%20HTTP/1.1%0D%0AX-Evil:%201%00%20%7F"; r.RequestURI != want || r.Header.Get("X-Evil") != "" {
		t.Errorf("backend was asked for %q with %v; want %q", r.RequestURI, r.Header, want)
	}
}

// A pong that waited while the peer was not read says nothing of the way to it.
func TestPongThatWaitedIsNotTimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &witness{}
		near, _ := pipe()
		h := &hop{}
		h.init(near, newTerms(backend, beatingPolicy, Limits{}, seen))
		for _, busy := range []bool{false, true} {
			h.pinged, h.busy = instantOf(time.Now()), busy
			time.Sleep(beatingPolicy.Timeout)
			if busy {
				h.tick()
			}
			h.control(rawFrame(0x80|opPong, pingMark, false), time.Now())
			if n := len(seen.events); n != 1 {
				t.Errorf("busy %v: %d answers were timed; want the first only", busy, n)
			}
		}
		h.cut()
		h.dead = true
	})
}

// What stands for a close that did not come is never on the wire.
func TestCloseCodesOnTheWire(t *testing.T) {
	for code, want := range map[int][2]int{ // to the client, to the backend
		0: {codeInternal, codeGoingAway}, 999: {codeInternal, codeGoingAway}, 1004: {codeInternal, codeGoingAway},
		codeNoStatus: {codeNoStatus, codeNoStatus}, codeAbnormal: {codeInternal, codeGoingAway}, 1015: {codeInternal, codeGoingAway},
		5000: {codeInternal, codeGoingAway}, 70000: {codeInternal, codeGoingAway}, 1000: {1000, 1000}, 4999: {4999, 4999},
	} {
		for s, want := range want {
			h := hop{terms: &hopTerms{side: side(s)}, order: &session.Close{Code: code, Reason: "\xffwhy"}}
			f := h.controls(true)
			got, reason, ok := parseClose(appendPayload(nil, f))
			if !ok || got != want || code != codeNoStatus && reason != "\uFFFDwhy" {
				t.Errorf("%v is told %d %q for %d; want %d", side(s), got, reason, code, want)
			}
		}
	}
}

// Bytes before the answer end the connection, and net/http has nothing to complain
// of: a stranger could fill its log.
func TestBytesBeforeTheAnswer(t *testing.T) {
	h := newHall(t, echoBackend(t), nil)
	said := &syncBuffer{}
	front := httptest.NewUnstartedServer(h)
	front.Config.ErrorLog = log.New(said, "", 0)
	front.Start()
	p := dialPeer(t, front.Listener.Addr().String())
	p.send(append([]byte(handshakeRequest("")), p.frame(0x80|opText, "early")...))
	if got := p.head(); got != "" {
		t.Errorf("answer = %q; want none", got)
	}
	front.Close()
	if got := said.String(); got != "" {
		t.Errorf("net/http logged %q", got)
	}
}

// A reader that waits for room keeps neither a copy of the message nor a chunk.
func TestPausedReaderHoldsNothing(t *testing.T) {
	const size = 8 << 20
	d := &stageDoor{t: t, ln: listen(t)}
	accepted := make(chan *peer, 1)
	go func() { accepted <- d.accept() }()
	b, err := NewBackend(Upstream{URL: d.url()}, "/")
	if err != nil {
		t.Fatal(err)
	}
	dialer := &Dialer{Backend: b, Live: &Live{}}
	l, err := dialer.Dial(t.Context(), askOf("GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	back := <-accepted
	all, set := session.Sessions{}, session.Default()
	paused := make(chan struct{}, 1)
	s, err := all.Open(session.Opening{Settings: &set, Backend: l, Observer: pauses{paused}})
	if err != nil {
		t.Fatal(err)
	}
	message := back.frame(0x80|opBinary, strings.Repeat("x", size))
	before := heapInUse()
	l.Start(s)
	back.send(message)
	<-paused
	for end := time.Now().Add(10 * time.Second); !l.hop.waits(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the reader does not wait")
		}
	}
	if grown := int64(heapInUse()) - int64(before); grown > size*3/2 {
		t.Errorf("a message of %d KiB that fills the window takes %d KiB", size>>10, grown>>10)
	}
	s.End(session.Left, session.Close{Code: codeGoingAway})
	runtime.KeepAlive(message)
	back.wantClose(codeGoingAway)
}

func (h *hop) waits() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.room != nil
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC() // what the pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Pauses is an observer of sessions that waits for a full window.
type pauses struct{ paused chan struct{} }

func (pauses) Opened()                             {}
func (pauses) Ended(session.Reason, time.Duration) {}
func (pauses) Attached(time.Duration)              {}
func (pauses) Passed(bool, int)                    {}
func (pauses) Skipped(int)                         {}
func (p pauses) Paused()                           { p.paused <- struct{}{} }

// A backend is ready for little, as long as it takes what it is given.
func TestBackendThatIsReady(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the kernel does not tell")
	}
	h, front, back := open(t, "/", nil)
	var l *Link
	for _, r := range h.live.list() {
		if r, ok := r.(*Link); ok {
			l = r
		}
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	want := func(ready bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); l.Ready(4<<10) != ready; <-tick.C {
			if time.Now().After(end) {
				t.Fatalf("ready is %v; want %v", !ready, ready)
			}
		}
	}
	want(true)
	if l.Ready(4<<10 + 1) {
		t.Error("it is ready for more than 4 KiB")
	}
	stopped, payload := make(chan struct{}), strings.Repeat("x", 64<<10)
	go func() {
		defer close(stopped)
		for range 256 {
			front.send(front.frame(0x80|opBinary, payload))
		}
	}()
	want(false)
	for range 256 {
		if got := back.message(); got != payload {
			t.Fatalf("got %d bytes; want %d", len(got), len(payload))
		}
	}
	<-stopped
	want(true)
}
