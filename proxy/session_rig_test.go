package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecar/access"
	"sidecar/heartbeat"
	"sidecar/loop"
	"sidecar/session"
)

// A plain codec is the smallest protocol: what is written has been delivered.
type plain struct {
	s       *session.Session
	r       *session.Reader
	carrier *Carrier
	last    uint64
	gone    chan session.Close
}

func (p *plain) Receive(m session.Message) *session.Close {
	if _, err := p.s.Send(context.Background(), 0, m); err != nil && !errors.Is(err, session.ErrClosing) {
		return &session.Close{Code: 4001, Reason: err.Error()}
	}
	return nil
}

func (p *plain) Next(buf []session.Message) ([]session.Message, *session.Close) {
	b, err := p.r.Take(buf, 64<<10)
	if err != nil {
		return buf, &session.Close{Code: 4002, Reason: err.Error()}
	}
	p.last = b.Last()
	return b.Messages, b.Close
}

func (p *plain) Written() { p.s.Ack(p.last) }

func (p *plain) Gone(c session.Close) {
	p.r.Close()
	if c.Code != codeAbnormal {
		p.s.SendClose(context.Background(), 0, c)
	}
	p.gone <- c
}

// A numbered codec acknowledges by number, both ways: "n message", and "ack n". It
// resumes.
type numbered struct {
	plain
	mu   sync.Mutex
	acks []session.Message
}

func (p *numbered) Receive(m session.Message) *session.Close {
	word, rest, _ := strings.Cut(string(m.Data), " ")
	if word == "ack" {
		n, _ := strconv.ParseUint(rest, 10, 64)
		if err := p.s.Ack(n); err != nil {
			return &session.Close{Code: codePolicy, Reason: "ack"}
		}
		return nil
	}
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return &session.Close{Code: codePolicy, Reason: "number"}
	}
	n, _ = p.s.Send(context.Background(), n, session.Message{Data: []byte(rest)})
	p.mu.Lock()
	p.acks = append(p.acks, session.Message{Data: fmt.Append(nil, "ack ", n)})
	p.mu.Unlock()
	p.carrier.Wake()
	return nil
}

func (p *numbered) Next(buf []session.Message) ([]session.Message, *session.Close) {
	p.mu.Lock()
	buf = append(buf, p.acks...)
	p.acks = nil
	p.mu.Unlock()
	b, err := p.r.Take(nil, 64<<10)
	if err != nil {
		return buf, &session.Close{Code: 4002, Reason: err.Error()}
	}
	for i, m := range b.Messages {
		buf = append(buf, session.Message{Data: fmt.Appendf(nil, "%d %s", b.First+uint64(i), m.Data)})
	}
	return buf, b.Close
}

func (p *numbered) Written() {}

func (p *numbered) Gone(c session.Close) {
	p.r.Close()
	p.gone <- c
}

// A hall is sessions between clients and a backend that a test plays itself.
type hall struct {
	t        *testing.T
	dialer   *Dialer
	carriers *Carriers
	all      session.Sessions
	settings session.Settings
	live     Live
	seen     *witness
	gone     chan session.Close
	opened   chan *session.Session
	front    *httptest.Server
}

func newHall(t *testing.T, backendURL string, change func(*hall)) *hall {
	t.Helper()
	b, err := NewBackend(Upstream{URL: backendURL}, "/")
	if err != nil {
		t.Fatal(err)
	}
	h := &hall{t: t, seen: &witness{}, settings: session.Default(), gone: make(chan session.Close, 1000), opened: make(chan *session.Session, 1000)}
	h.dialer = &Dialer{Backend: b, Live: &h.live, Observer: h.seen}
	h.carriers = &Carriers{Live: &h.live, Observer: h.seen}
	if change != nil {
		change(h)
	}
	h.park(t, 2*time.Millisecond)
	h.front = httptest.NewServer(h)
	t.Cleanup(func() { h.empty(); h.front.Close() })
	return h
}

// park has hops that are idle for so long wait in loops: so they come and go there all
// the time. Where there are no such loops they do not.
func (h *hall) park(tb testing.TB, pause time.Duration) {
	loops, err := loop.StartGroup()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(loops.Stop)
	d, c := h.dialer, h.carriers
	d.once.Do(func() { d.terms = newTerms(backend, d.Heartbeat, d.Limits, d.Observer).on(loops) })
	c.once.Do(func() { c.terms = newTerms(client, c.Heartbeat, c.Limits, c.Observer).on(loops) })
	d.terms.pause, c.terms.pause = pause, pause
}

// empty ends all sessions and waits until nothing of them is left.
func (h *hall) empty() {
	for _, s := range h.all.All() {
		s.End(session.Drained, session.Close{Code: codeGoingAway})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if cut := h.live.Drain(ctx, 0, codeGoingAway, "over"); cut > 0 {
		h.t.Errorf("%d connections had to be cut after 20 s", cut)
	}
}

func (h *hall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !Upgradable(w, r) {
		return
	}
	if id := r.URL.Query().Get("resume"); id != "" {
		h.resume(w, r, id)
		return
	}
	id := session.NewID("")
	l, err := h.dialer.Dial(r.Context(), Ask{
		Request: r, Client: access.Proxies{}.Client(r), Session: session.Public(id), Subprotocols: offeredProtocols(r.Header),
	})
	if err != nil {
		if answer, ok := err.(http.Handler); ok {
			answer.ServeHTTP(w, r)
		}
		return
	}
	header := http.Header{"Set-Cookie": l.Header["Set-Cookie"], "Sec-Websocket-Protocol": l.Header["Sec-Websocket-Protocol"]}
	s, err := h.all.Open(session.Opening{ID: id, Settings: &h.settings, Backend: l})
	if err != nil {
		l.Drop()
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	l.Start(s)
	h.carry(w, r, header, s, func(wake func()) (*session.Reader, error) { return s.Attach(wake) })
	h.opened <- s
}

func (h *hall) resume(w http.ResponseWriter, r *http.Request, id string) {
	s, err := h.all.Find(id, session.Identity{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	last, _ := strconv.ParseUint(r.URL.Query().Get("last"), 10, 64)
	h.carry(w, r, nil, s, func(wake func()) (*session.Reader, error) { return s.Resume(last, wake) })
}

func (h *hall) carry(w http.ResponseWriter, r *http.Request, header http.Header, s *session.Session, attach func(func()) (*session.Reader, error)) {
	c, err := h.carriers.Accept(w, r, header)
	if err != nil {
		s.End(session.Left, session.Close{Code: codeGoingAway})
		return
	}
	p := plain{s: s, carrier: c, gone: h.gone}
	if p.r, err = attach(c.Wake); err != nil {
		c.Drop()
		return
	}
	if r.URL.Path == "/numbered" {
		c.Start(&numbered{plain: p})
	} else {
		c.Start(&p)
	}
	c.Wake()
}

// client connects one, and shakes hands.
func (h *hall) client(path string) *peer {
	h.t.Helper()
	p := dialPeer(h.t, strings.TrimPrefix(h.front.URL, "http://"))
	p.send([]byte(strings.Replace(handshakeRequest(""), "/chat?room=1", path, 1)))
	if got := p.head(); !strings.HasPrefix(got, "HTTP/1.1 101 ") {
		h.t.Fatalf("answer to the handshake = %q; want 101", got)
	}
	return p
}

// A stageDoor is a backend in the hands of a test.
type stageDoor struct {
	t  *testing.T
	ln net.Listener
	// secure: it speaks TLS.
	secure bool
}

func (d *stageDoor) url() string { return "ws://" + d.ln.Addr().String() }

// accept takes the next connection, and answers its handshake truly.
func (d *stageDoor) accept() *peer {
	d.t.Helper()
	c, err := d.ln.Accept()
	if err != nil {
		d.t.Fatal(err)
	}
	p := newPeer(d.t, c, false)
	if d.secure {
		p.secure(tls.Server(p.conn.TCPConn, &tls.Config{Certificates: []tls.Certificate{testCertificate()}}))
	}
	r, err := http.ReadRequest(p.r)
	if err != nil {
		d.t.Fatal(err)
	}
	p.send([]byte(strings.Replace(handshakeAnswer(""), acceptFor(testKey), acceptFor(r.Header.Get("Sec-Websocket-Key")), 1)))
	return p
}

// open makes one session, and returns both its ends.
func open(t *testing.T, path string, change func(*hall)) (h *hall, front, back *peer) {
	t.Helper()
	d := &stageDoor{t: t, ln: listen(t)}
	h = newHall(t, d.url(), change)
	accepted := make(chan *peer, 1)
	go func() { accepted <- d.accept() }()
	front = h.client(path)
	return h, front, <-accepted
}

func beating(interval, timeout time.Duration) func(*hall) {
	return func(h *hall) {
		h.dialer.Heartbeat = heartbeat.Policy{Interval: interval, Timeout: timeout}
		h.carriers.Heartbeat = h.dialer.Heartbeat
	}
}

// wantGone waits for the client's connection to be over.
func (h *hall) wantGone(code int) {
	h.t.Helper()
	select {
	case c := <-h.gone:
		if c.Code != code {
			h.t.Errorf("codec was told %v; want code %d", c, code)
		}
	case <-time.After(20 * time.Second):
		h.t.Fatal("codec was told nothing")
	}
}
