package test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/test/faultlink"
	"sidecar/test/history"
)

// A rig is a sidecar with a link that can fail on each side of it, between
// clients and a backend that write down all they send and get.
type rig struct {
	addr        string // of the sidecar itself
	h           *history.History
	front, back *faultlink.Link // to the sidecar, and to the backend
	arrivals    *arrivals
	via         transport // what its clients speak
}

// A transport is what the clients of a rig speak.
type transport struct {
	name string
	// dial opens a session through the front link.
	dial func(r *rig, id string) (line, error)
	// goodbye is the code that a backend gets when the client leaves.
	goodbye int
}

// A line is what a peer speaks over: a WebSocket, or a client of a protocol that
// carries messages alike.
type line interface {
	ReadMessage() (kind int, b []byte, err error)
	WriteMessage(kind int, b []byte) error
	WriteControl(kind int, b []byte, deadline time.Time) error
	Close() error
}

var overWebSocket = transport{"websocket", dialWebSocket, 1000}

func dialWebSocket(r *rig, id string) (line, error) {
	d := websocket.Dialer{HandshakeTimeout: patience, NetDial: func(network, addr string) (net.Conn, error) { return net.Dial(network, r.front.Addr()) }}
	c, _, err := d.Dial(fmt.Sprintf("ws://%s/?id=%s", r.addr, id), nil)
	return c, err
}

// errLeft is why the reading of a line ends that was closed by its own end.
var errLeft = errors.New("left")

// newRig is a rig around a sidecar in this process.
func newRig(t testing.TB, settings string) *rig {
	t.Helper()
	return rigAround(t, func(upstream string) string { return boot(t, upstream, settings).addr })
}

// rigAround is a rig around the sidecar that start starts before an upstream.
func rigAround(t testing.TB, start func(upstream string) (addr string)) *rig {
	t.Helper()
	r := &rig{h: new(history.History), arrivals: serveArrivals(t), via: overWebSocket}
	r.back = newLink(t, r.arrivals.addr)
	r.addr = start(r.back.Addr())
	r.front = newLink(t, r.addr)
	return r
}

func newLink(t testing.TB, to string) *faultlink.Link {
	t.Helper()
	l, err := faultlink.Listen(to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// arrivals is a backend that hands each connection to whoever asks for its id.
type arrivals struct {
	addr string
	mu   sync.Mutex
	byID map[string]chan *websocket.Conn
}

func serveArrivals(t testing.TB) *arrivals {
	a := &arrivals{byID: map[string]chan *websocket.Conn{}}
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	pages := http.FileServer(http.Dir("node")) // of its own origin, once it goes through the sidecar
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !websocket.IsWebSocketUpgrade(r) {
			pages.ServeHTTP(w, r)
			return
		}
		if c, err := up.Upgrade(w, r, nil); err == nil {
			a.of(r.URL.Query().Get("id")) <- c
		}
	}))
	a.addr = s.Listener.Addr().String()
	t.Cleanup(s.Close)
	return a
}

func (a *arrivals) of(id string) chan *websocket.Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byID[id] == nil {
		a.byID[id] = make(chan *websocket.Conn, 1)
	}
	return a.byID[id]
}

// A peer is one end of a session. It reads from the start to the end.
type peer struct {
	line
	tally
	sends   history.Stream
	sending sync.Mutex
	ended   chan struct{} // closed when reading is over
	err     error         // why; read it after ended
	at      time.Time     // when; likewise
}

// A tally writes down what one end reads, and tells when it has enough.
type tally struct {
	h     *history.History
	reads history.Stream
	mu    sync.Mutex
	want  int           // messages at which full is closed; -1: it is
	full  chan struct{} // closed when as many arrived
}

func newPeer(h *history.History, c line, id string, sends, reads history.Dir, want int) *peer {
	p := &peer{
		line: c, tally: tally{h: h, reads: history.Stream{Session: id, Dir: reads}},
		sends: history.Stream{Session: id, Dir: sends}, ended: make(chan struct{}),
	}
	p.expect(want)
	return p
}

// expect makes full be closed when n messages in all have arrived.
func (p *tally) expect(n int) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.want = n
	p.full = make(chan struct{})
	p.checkLocked()
	return p.full
}

func (p *tally) checkLocked() {
	if p.want >= 0 && p.h.Received(p.reads) >= p.want {
		p.want = -1 // closed once
		close(p.full)
	}
}

// got writes a message down.
func (p *tally) got(b []byte) {
	p.h.Receive(p.reads, b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checkLocked()
}

func (p *peer) read() {
	defer close(p.ended)
	for {
		_, b, err := p.ReadMessage()
		if err != nil {
			p.err, p.at = err, time.Now()
			p.Close() // as a browser does once it was told
			return
		}
		p.got(b)
	}
}

// send sends n messages of about size bytes, text and binary in turn.
func (p *peer) send(n, size int) error {
	for i := range n {
		if err := p.sendOne(websocket.TextMessage+i%2, size); err != nil {
			return err
		}
	}
	return nil
}

func (p *peer) sendOne(kind, size int) error {
	p.sending.Lock() // so that numbers go out in order
	defer p.sending.Unlock()
	return p.WriteMessage(kind, p.h.Send(p.sends, size))
}

// offer sends in the background, and tells how that ended.
func (p *peer) offer(n, size int) <-chan error {
	done := make(chan error, 1)
	go func() { done <- p.send(n, size) }()
	return done
}

// code is the close code by which p ended, or 0 where none came. A client that
// left by itself without any has ended with 1000.
func (p *peer) code() int {
	var c *websocket.CloseError
	switch {
	case errors.As(p.err, &c) && c.Code != websocket.CloseAbnormalClosure:
		return c.Code
	case errors.Is(p.err, errLeft):
		return 1000
	}
	return 0
}

// A talk is one session: both of its ends.
type talk struct {
	id              string
	client, backend *peer
	goodbye         int // as in transport
}

// open starts a session through both links, in which each end wants so many messages.
func (r *rig) open(t testing.TB, id string, want int) *talk {
	t.Helper()
	k, err := r.try(id, want)
	if err != nil {
		t.Fatalf("opening %s: %v", id, err)
	}
	t.Cleanup(func() {
		k.client.Close()
		k.backend.Close()
		<-k.client.ended
		<-k.backend.ended
	})
	return k
}

// try is open for sessions that may fail to open. The caller closes both ends.
func (r *rig) try(id string, want int) (*talk, error) {
	c, b, err := r.connect(id)
	if err != nil {
		return nil, err
	}
	k := &talk{id, newPeer(r.h, c, id, history.Up, history.Down, want), newPeer(r.h, b, id, history.Down, history.Up, want), r.via.goodbye}
	go k.backend.read()
	go k.client.read()
	return k, nil
}

func (r *rig) connect(id string) (client line, backend *websocket.Conn, err error) {
	c, err := r.via.dial(r, id)
	if err != nil {
		return nil, nil, err
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case b := <-r.arrivals.of(id):
		return c, b, nil
	case <-late.C:
		c.Close()
		return nil, nil, errors.New("the client is connected, but the backend is not")
	}
}

// finish lets the client close, once all has arrived, and wants a clean end.
func (k *talk) finish(t testing.TB) {
	t.Helper()
	within(t, patience, "what the backend sent", k.client.full)
	within(t, patience, "what the client sent", k.backend.full)
	k.client.leave()
	within(t, patience, "the client's end", k.client.ended)
	within(t, patience, "the backend's end", k.backend.ended)
	if k.client.code() != 1000 || k.backend.code() != k.goodbye {
		t.Errorf("closed with %v at the client, %v at the backend; want 1000 and %d", k.client.err, k.backend.err, k.goodbye)
	}
}

// broken waits until both ends know that the session is over, and records that
// the client was told.
func (k *talk) broken(t testing.TB, d time.Duration) {
	t.Helper()
	within(t, d, "the client's being told", k.client.ended)
	within(t, d, "the backend's being told", k.backend.ended)
	k.told()
}

func (k *talk) told() {
	if k.client.err != nil {
		kind := k.client.err.Error()
		k.client.h.Told(k.id, kind)
	}
}

// wantHonest fails unless all that went wrong is a told loss of a stream's end.
func (r *rig) wantHonest(t testing.TB) history.Report {
	t.Helper()
	got := r.h.Check()
	if !got.Honest() || got.Sent == 0 {
		t.Errorf("the history is not honest: %v", got)
	}
	t.Log(got)
	return got
}

// wantClean fails unless all arrived once and in order.
func (r *rig) wantClean(t testing.TB) {
	t.Helper()
	if got := r.h.Check(); !got.Clean() || got.Sent == 0 {
		t.Errorf("the history is not clean: %v", got)
	} else {
		t.Log(got)
	}
}
