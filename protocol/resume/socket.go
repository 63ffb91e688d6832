package resume

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"sidecar/protocol/resume/wire"
	"sidecar/proxy"
	"sidecar/session"
)

// helloTime is what a WebSocket has in which to say who it is (§3.1).
const helloTime = 10 * time.Second

// A socket is a client's WebSocket (§3.1).
type socket struct {
	handler *Handler
	ask     *ask // nil once there is a carrier
	socket  *proxy.Carrier

	mu      sync.Mutex // before the client's, and not held with it
	carrier *carrier   // nil: it is not attached
	timer   *time.Timer
	cancel  context.CancelFunc // of the wait for an opening; nil: there is none
	last    []byte             // what is said in place of a WELCOME
	over    bool

	space *[]byte // what is being written; the writer's own
}

var (
	_ proxy.Codec = (*socket)(nil)
	_ way         = (*socket)(nil)
)

// serveSocket takes a WebSocket.
func (h *Handler) serveSocket(w http.ResponseWriter, r *http.Request) {
	c, err := h.Desk.Guard.Check(r)
	if err != nil {
		h.turnAway(w, r, err)
		return
	}
	if !proxy.Upgradable(w, r) {
		return
	}
	a := h.ask(r, c, r.URL.RawQuery)
	carrier, err := h.Carriers.Accept(w, r, http.Header{"Sec-Websocket-Protocol": {wire.Subprotocol}})
	if err != nil {
		return
	}
	s := &socket{handler: h, ask: a, socket: carrier}
	s.timer = time.AfterFunc(helloTime, s.late)
	carrier.Start(s)
}

// late ends a WebSocket that did not say who it is.
func (s *socket) late() { s.end(codePolicy, "no HELLO came") }

func (s *socket) wake()       { s.socket.Wake() }
func (s *socket) ready() bool { return true }
func (s *socket) end(code int, reason string) {
	s.socket.Close(session.Close{Code: code, Reason: reason})
}

// A fault of the client's that ends the WebSocket and nothing else.
func fault(text string) *session.Close { return &session.Close{Code: codeBroken, Reason: text} }

// Receive has a message of the client's.
func (s *socket) Receive(m session.Message) *session.Close {
	if !m.Binary {
		return &session.Close{Code: codeUnsupported, Reason: "frames are binary"}
	}
	s.mu.Lock()
	k, waits, over := s.carrier, s.ask == nil, s.over || s.last != nil
	s.mu.Unlock()
	switch {
	case over:
		return nil
	case k != nil:
		return k.receive(m.Data)
	case waits:
		return fault("a frame before WELCOME")
	}
	return s.hello(m.Data)
}

// receive has frames of a WebSocket that is attached.
func (k *carrier) receive(frames []byte) *session.Close {
	c, now := k.client, time.Now()
	c.mu.Lock()
	if k.over || c.over != 0 {
		c.mu.Unlock()
		return nil
	}
	k.alive(now)
	t := c.take(frames, now)
	if t.pinged {
		k.ponged, k.marked = true, int8(copy(k.mark[:], t.mark))
		t.after.stir = append(t.after.stir, k)
	}
	if t.short && k.until.IsZero() {
		k.until = now.Add(ackTime) // or it would come again at once
		c.clock.by(c, k.until, now)
	}
	bad := t.err
	if bad == nil && t.dropped && k.until.IsZero() {
		bad = wire.ErrGap // requests overtake each other, frames of a WebSocket do not
	}
	hand, count, size := t.after.hand, len(c.up.queue), c.up.size
	t.after.hand = false
	c.mu.Unlock()
	c.do(t.after)
	if hand {
		c.handAtOnce(count, size)
	}
	if bad != nil && t.after.why == 0 {
		return fault(bad.Error()[:min(len(bad.Error()), wire.MaxReason)])
	}
	return nil
}

// hello has the first message. JSON takes a deep stack, which the goroutine that reads
// the WebSocket would keep.
func (s *socket) hello(body []byte) (bad *session.Close) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		bad = s.greet(body)
	}()
	<-done
	return bad
}

func (s *socket) greet(body []byte) *session.Close {
	if err := wire.CheckBody(wire.WebSocket, body); err != nil {
		return fault("no HELLO")
	}
	f, rest, err := wire.Split(body)
	if err != nil {
		return fault("no HELLO")
	}
	hello, err := wire.ParseHello(f.Body)
	if err != nil {
		return fault("no HELLO")
	}
	s.mu.Lock()
	s.timer.Stop()
	a := s.ask
	s.ask = nil
	s.mu.Unlock()
	if hello.Session == "" {
		go s.open(a, hello)
		return nil
	}
	return s.resume(a, hello, rest)
}

// open waits for a session, and attaches.
func (s *socket) open(a *ask, hello *wire.Hello) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.mu.Lock()
	s.cancel = cancel
	over := s.over
	s.mu.Unlock()
	if over {
		cancel()
	}
	c, refused, err := s.handler.meet(ctx, a, hello)
	switch {
	case errors.Is(err, errCrowd):
		s.end(codeNormal, "too many carriers")
	case err != nil: // it has gone
	case refused != nil:
		s.say(refusal(refused))
	default:
		k := &carrier{generation: hello.Generation, kind: wire.WebSocket, way: s}
		if reason := c.join(k, hello); reason != "" {
			s.say(gone(nil, reason))
			return
		}
		s.attached(k)
	}
}

// resume attaches to a session that there is.
func (s *socket) resume(a *ask, hello *wire.Hello, rest []byte) *session.Close {
	c, reason := s.handler.find(hello.Session, a)
	k := &carrier{generation: hello.Generation, kind: wire.WebSocket, way: s}
	if reason == "" {
		reason = c.resume(k, hello)
	}
	if reason != "" {
		s.say(gone(nil, reason))
		return nil
	}
	s.attached(k)
	if len(rest) > 0 {
		return k.receive(rest)
	}
	return nil
}

// attached says that k is the socket's. One that has gone meanwhile was not found by
// Gone.
func (s *socket) attached(k *carrier) {
	s.mu.Lock()
	s.carrier = k
	over := s.over
	s.mu.Unlock()
	if over {
		k.client.lost(k)
		return
	}
	s.wake()
}

// say has the socket end behind a frame.
func (s *socket) say(last []byte) {
	s.mu.Lock()
	s.last = last
	s.mu.Unlock()
	s.wake()
}

// parcel is the most bytes of one message to a client. On a slow path a browser sees
// nothing of a message until it is whole, and takes that for silence; and what it would
// acknowledge meanwhile waits as long. A message of 16 KiB still goes in one.
const parcel = 16<<10 + 256

// parcels are lent for what is being written.
var parcels = sync.Pool{New: func() any { b := make([]byte, 0, parcel+1<<10); return &b }}

// Next has what is to be written: one message of whole frames.
func (s *socket) Next(buf []session.Message) ([]session.Message, *session.Close) {
	s.mu.Lock()
	k, last := s.carrier, s.last
	s.mu.Unlock()
	if last != nil {
		return append(buf, session.Message{Binary: true, Data: last}), &session.Close{Code: codeNormal}
	}
	if k == nil {
		return buf, nil
	}
	if s.space == nil {
		s.space = parcels.Get().(*[]byte)
	}
	b, _, ends := k.next((*s.space)[:0], parcel)
	if len(b) == 0 {
		s.release()
	} else {
		buf = append(buf, session.Message{Binary: true, Data: b})
	}
	if ends {
		return buf, &session.Close{Code: codeNormal}
	}
	return buf, nil
}

func (s *socket) release() {
	if s.space != nil {
		parcels.Put(s.space)
		s.space = nil
	}
}

// Written says that the client's kernel has what Next returned.
func (s *socket) Written() { s.release() }

// Gone says that the WebSocket is no more.
func (s *socket) Gone(session.Close) {
	s.mu.Lock()
	s.over = true
	s.timer.Stop()
	k, cancel := s.carrier, s.cancel
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if k != nil {
		k.client.lost(k)
	}
}
