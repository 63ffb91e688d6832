package resumable

import (
	"io"
	"net/http"
	"sync"
	"testing"

	"sidecar/protocol/resume/wire"
)

// A fake is a small server of the protocol, with an echo for a backend, that tests make
// fail: before each request it asks the hook of its kind, which may answer in its place.
type fake struct {
	t     *testing.T
	hooks map[wire.Kind]func(w http.ResponseWriter, r *http.Request) (done bool)
	// app is told each message that came up. Default: an echo.
	app func(s *talk, m message)
	// refuse is the answer to an opening, if there is one.
	refuse  *wire.Refused
	rename  string       // the session that WELCOMEs name, if it is not the right one
	welcome wire.Welcome // what it says of times and windows

	mu     sync.Mutex
	talks  map[string]*talk // by attempt
	hellos []wire.Hello
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, talks: map[string]*talk{}, hooks: map[wire.Kind]func(http.ResponseWriter, *http.Request) bool{}}
	f.welcome = wire.Welcome{Version: 1, Window: 64 << 10, Message: 1 << 20, Heartbeat: 20_000, Timeout: 10_000, Rotate: 55_000, TTL: 60_000}
	f.app = func(s *talk, m message) { s.out.add(m.binary, m.data) }
	return f
}

// A talk is one session of a fake: its two boxes are a client's, the other way round.
type talk struct {
	f       *fake
	id      string
	mu      sync.Mutex
	tokens  wire.Tokens
	out     outbox
	in      inbox
	at      position // of what goes down
	used    uint64   // the generation in use
	turn    uint64
	gone    string
	goaway  uint64
	stray   *wire.Close
	lax     bool   // what was injected is acknowledged too
	inject  []byte // goes down as it is, once
	warned  bool   // by an answer to a poll
	busy    bool   // the backend takes nothing
	got     int    // messages that came up
	polls   int    // the newest is the one that is held
	pongs   int
	change  chan struct{}
	violent error
}

// do changes a talk, and wakes its carriers.
func (s *talk) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.change)
	s.change = make(chan struct{})
}

// only is the one session that a test's client has.
func (f *fake) only() *talk {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.talks) != 1 {
		f.t.Errorf("there are %d sessions; want 1", len(f.talks))
	}
	for _, s := range f.talks {
		return s
	}
	return nil
}

// said are the HELLOs so far.
func (f *fake) said() []wire.Hello {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]wire.Hello(nil), f.hellos...)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind, _, ok := wire.CutKind(r.URL.RawQuery)
	if !ok {
		kind = wire.WebSocket
	}
	f.mu.Lock()
	hook := f.hooks[kind]
	f.mu.Unlock()
	if hook != nil && hook(w, r) {
		return
	}
	if kind == wire.WebSocket {
		f.webSocket(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = wire.CheckBody(kind, body)
	}
	if err != nil {
		if r.Context().Err() == nil {
			f.t.Errorf("%s: bad body: %v", kind, err)
		}
		http.Error(w, "bad body", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", wire.ContentType)
	w.Header().Set("Cache-Control", "no-store, no-transform")
	f.request(kind, w, r, body)
}

// set changes a hook.
func (f *fake) set(kind wire.Kind, hook func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hooks[kind] = hook
}

// attach takes a HELLO, and returns the answer.
func (f *fake) attach(body []byte) (s *talk, gen uint64, answer []byte) {
	h, err := wire.ParseHello(body)
	if err != nil {
		f.t.Errorf("HELLO: %v", err)
		return nil, 0, nil
	}
	f.mu.Lock()
	f.hellos = append(f.hellos, *h)
	s = f.talks[h.Attempt]
	if s == nil && h.Session == "" {
		if f.refuse != nil {
			f.mu.Unlock()
			answer, _ = f.refuse.Append(nil)
			return nil, 0, answer
		}
		s = &talk{f: f, id: wire.NewAttempt(), change: make(chan struct{}), out: newOutbox(), in: newInbox(f.welcome.Window, f.welcome.Message)}
		f.talks[h.Attempt] = s
	}
	f.mu.Unlock()
	if s == nil || h.Session != "" && h.Session != s.id {
		return nil, 0, goneFrame("unknown")
	}
	s.do(func() { answer = s.welcomed(h) })
	return s, h.Generation, answer
}

func goneFrame(reason string) []byte {
	b, err := (&wire.Gone{Reason: reason}).Append(nil)
	if err != nil {
		panic(err)
	}
	return b
}

func (s *talk) welcomed(h *wire.Hello) []byte {
	if h.Session != "" && !s.tokens.Use(h.Token) {
		return goneFrame("unknown")
	}
	if s.gone != "" {
		return goneFrame(s.gone)
	}
	s.out.window = h.Window
	if h.Session != "" {
		if _, err := s.out.ack(h.Ack()); err != nil {
			s.violent = err
		}
	}
	s.use(wire.Use{Turn: h.Use, Generation: h.Generation})
	w := s.f.welcome
	a := s.tell(h.Generation)
	w.Session, w.Token = s.id, s.tokens.Offer()
	w.Position = wire.Position{Received: a.Received, Ahead: a.Ahead, Partial: a.Partial, Lowest: s.out.first}
	if s.f.rename != "" {
		w.Session = s.f.rename
	}
	b, err := w.Append(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// takes a client's frame. pong is the answer to a PING.
func (s *talk) take(f wire.Frame) (pong []byte, err error) {
	if err := wire.CheckNext(f); err != nil && f.Type != wire.TypeContinue {
		return nil, err
	}
	switch f.Type {
	case wire.TypeData:
		d, _ := wire.ParseData(f.Body)
		err = s.in.data(d)
		s.hand()
	case wire.TypeAck:
		a, _ := wire.ParseAck(f.Body)
		if _, err = s.out.ack(a); s.lax {
			err = nil
		}
	case wire.TypeClose:
		c, _ := wire.ParseClose(f.Body)
		if s.f.rename != "" {
			s.stray = &c
			return nil, nil
		}
		if err = s.in.close(c); err == nil {
			s.out.finish(c.Code, c.Reason)
		}
	case wire.TypeUse:
		u, _ := wire.ParseUse(f.Body)
		s.use(u)
	case wire.TypePing:
		pong = wire.AppendPong(nil, f.Body)
	case wire.TypePong:
		s.pongs++
	}
	return pong, err
}

// hand gives the backend what waits, unless that is busy.
func (s *talk) hand() {
	for !s.busy {
		m, ok := s.in.read()
		if !ok {
			return
		}
		s.got++
		s.f.app(s, m)
	}
}

// use has messages go down by another carrier, behind an ACK: the last may be lost with
// the one before (§7.4).
func (s *talk) use(u wire.Use) {
	if u.Turn <= s.turn {
		return
	}
	s.turn, s.at = u.Turn, s.out.taken
	if s.used != u.Generation {
		s.used = u.Generation
		s.in.untold()
	}
}

// tell is what a carrier is told to be taken. It counts only by the one in use.
func (s *talk) tell(gen uint64) wire.Ack {
	if gen == s.used {
		return s.in.tell()
	}
	return s.in.ack()
}

// down is what there is for a carrier.
func (s *talk) down(gen uint64, told *bool, most int) (b []byte) {
	if s.gone != "" {
		return goneFrame(s.gone)
	}
	if s.goaway != 0 && !*told {
		*told = true
		b = wire.AppendGoaway(b, s.goaway)
	}
	if s.used != gen {
		return b
	}
	if s.in.news() {
		b = s.in.tell().Append(b)
	}
	b, s.at = s.out.append(b, s.at, most)
	b, s.inject = append(b, s.inject...), nil
	return b
}
