package engineio

import (
	"net/http"
	"time"

	"sidecar/proxy"
	"sidecar/session"
)

const (
	// firstNoop is how long after the answer to a probe an open poll is ended, for
	// the client to be free to change over. It is not at once, so that a client that
	// does not wait for the answer finds its poll refused, as one that comes later.
	firstNoop = 20 * time.Millisecond
	// nextNoop is how long after that every other is, until the client has changed
	// over: a poll may be under way at any time.
	nextNoop = 100 * time.Millisecond
)

// upgrade has a client that polls try a WebSocket. There is one at a time, and none
// for a session that has one: nobody takes a session over by its sid. False: the
// session is over.
func (e *engine) upgrade(w http.ResponseWriter, r *http.Request, q query) bool {
	if !proxy.Upgradable(w, r) {
		return true
	}
	s := &socket{engine: e, base64: q.base64}
	e.mu.Lock()
	switch {
	case e.over:
		e.mu.Unlock()
		return false
	case e.socket != nil || e.candidate != nil:
		e.mu.Unlock()
		e.handler.turnAway(w, r)
		return true
	}
	e.arrived()
	e.candidate = s
	e.mu.Unlock()
	c, err := e.handler.Carriers.Accept(w, r, chosen(firstOffered(r)))
	if err != nil {
		e.forget(s)
		return true
	}
	s.begin(c)
	return true
}

// turnAway takes a WebSocket for a session that has one, and closes it at once. It
// is not refused before the 101: what clients are promised here is a WebSocket's
// close, and not all of them bear an error in its place.
func (h *Handler) turnAway(w http.ResponseWriter, r *http.Request) {
	if c, err := h.Carriers.Accept(w, r, chosen(firstOffered(r))); err == nil {
		turnAway(c, session.Close{Code: codeNoStatus})
	}
}

// turnAway closes a WebSocket that is nobody's.
func turnAway(c *proxy.Carrier, why session.Close) {
	c.Start(turnedAway{why})
	c.Wake()
}

// turnedAway is the codec of such a WebSocket: nothing it brings is heard.
type turnedAway struct{ why session.Close }

func (t turnedAway) Receive(session.Message) *session.Close { return &t.why }

func (t turnedAway) Next(buf []session.Message) ([]session.Message, *session.Close) {
	return buf, &t.why
}

func (turnedAway) Written()           {}
func (turnedAway) Gone(session.Close) {}

// begin begins to hear a candidate, unless the session has ended meanwhile.
func (s *socket) begin(c *proxy.Carrier) {
	e := s.engine
	e.mu.Lock()
	if e.candidate != s {
		why := e.ending.client
		e.mu.Unlock()
		turnAway(c, why)
		return
	}
	limit := e.handler.Settings.UpgradeTimeout
	s.carrier, s.by = c, time.Now().Add(limit)
	s.timer = time.AfterFunc(limit, s.tick)
	e.mu.Unlock()
	c.Start(s)
}

// forget reports whether s was the candidate, which it is no more.
func (e *engine) forget(s *socket) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.candidate != s {
		return false
	}
	e.candidate = nil
	if s.timer != nil {
		s.timer.Stop()
	}
	return true
}

// prove has a frame of a candidate's. What is neither a probe nor the change of
// transport ends it, and nothing else.
func (s *socket) prove(m session.Message) *session.Close {
	e := s.engine
	switch {
	case !m.Binary && string(m.Data) == probe:
		e.mu.Lock()
		s.probed, s.owed = true, true
		e.beat.heard = true
		e.mu.Unlock()
		s.wake()
		return nil
	case !m.Binary && len(m.Data) == 1 && kind(m.Data[0]) == upgrade:
		s.change()
		return nil
	}
	e.forget(s)
	return &session.Close{Code: codeNoStatus}
}

// change makes the candidate the transport. A poll that the client has open in spite
// of it is refused, and a POST whose body is not whole yet. What a POST has begun to
// give the backend comes first, and what an answer already carries: see Next.
func (s *socket) change() {
	e := s.engine
	e.mu.Lock()
	e.settle()
	if e.candidate != s {
		e.mu.Unlock()
		return
	}
	e.candidate, e.socket = nil, s
	s.timer.Stop()
	e.flush(false)
	s.wake()
}

// urge has the client's poll ended in so long. The caller holds the engine's lock.
func (s *socket) urge(in time.Duration) {
	s.timer.Reset(min(in, max(0, time.Until(s.by))))
}

// tick ends the poll of a client that is to change over, or the wait for that.
func (s *socket) tick() {
	e := s.engine
	e.mu.Lock()
	switch {
	case e.candidate != s:
		e.mu.Unlock()
	case !time.Now().Before(s.by):
		e.candidate = nil
		e.mu.Unlock()
		s.carrier.Close(session.Close{Code: codeNoStatus})
	case s.probed:
		s.urge(nextNoop)
		e.flush(true)
	default:
		s.urge(time.Until(s.by))
		e.mu.Unlock()
	}
}

// chosen is the header that names a subprotocol; "": none.
func chosen(subprotocol string) http.Header {
	h := http.Header{}
	if subprotocol != "" {
		h.Set("Sec-Websocket-Protocol", subprotocol)
	}
	return h
}
