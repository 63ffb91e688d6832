package engineio

import (
	"sync"
	"time"

	"sidecar/polling"
	"sidecar/session"
)

// An engine is one client's side of a session. It is on one transport at a time:
//
//	polling ──── WebSocket with its sid ───▶ polling, with a candidate
//	   ▲                                        │         │
//	   └── anything but a probe, or too late ───┘        "5"
//	                                                      ▼
//	begins on a WebSocket ────────────────────────▶ on a socket ──▶ over
//
// and over from everywhere, once. While there is a candidate, messages go by polling.
//
// Its lock is not held while anything is called that may wait, or call back: of
// session only Reader.Take is called under it, which does neither.
type engine struct {
	handler *Handler
	sid     string
	session *session.Session
	release func() // for the Limiters

	mu        sync.Mutex
	reader    *session.Reader   // nil: not yet
	socket    *socket           // the transport; nil: it is polling
	candidate *socket           // a WebSocket that may become it
	poll      *polling.Poll     // the client's, to be answered
	got       []session.Message // taken by a poll's answer that lingers
	linger    polling.Linger
	beat      beat
	ending    *ending        // how it was ended from this side
	heard     *session.Close // the backend's close, once it was taken; nil: there was none
	writing   int            // answers with messages that are on their way
	sending   int            // POSTs and frames whose messages are being given to the backend
	sent      chan struct{}  // closed once there are none; nil: nobody waits
	polled    bool           // there is a GET: poll, or soon to be
	posted    bool           // there is a POST
	lingering bool           // a timer runs for what lingers
	jammed    bool           // nothing may follow what was drawn; the end is near
	over      bool
}

// An ending is how an engine is ended.
type ending struct {
	why     session.Reason
	backend session.Close // what it is told
	client  session.Close // what it is told on a WebSocket
	word    kind          // what an open poll gets
}

// Close codes (RFC 6455 §7.4.1).
const (
	codeNormal      = 1000
	codeGoingAway   = 1001
	codeBroken      = 1002
	codeUnsupported = 1003
	codeNoStatus    = 1005 // in no frame: a close without any
	codeAbnormal    = 1006 // in no frame: there was none
	codeInvalid     = 1007
	codePolicy      = 1008
	codeTooBig      = 1009
	codeTryAgain    = 1013
	codeApps        = 3000 // from here on they are the applications' own
)

// A backend hears the same as of a raw client: what the client said, or 1001.
var (
	saidBye  = ending{session.Left, session.Close{Code: codeNoStatus}, session.Close{Code: codeNoStatus}, noop}
	vanished = ending{session.Left, session.Close{Code: codeGoingAway}, session.Close{Code: codeGoingAway}, closing}
	silent   = ending{session.Expired, session.Close{Code: codeGoingAway}, session.Close{Code: codeGoingAway, Reason: "ping timeout"}, closing}
	drained  = ending{session.Drained, session.Close{Code: codeGoingAway, Reason: "server going away"}, session.Close{Code: codeGoingAway}, closing}
	breach   = ending{session.Broken, session.Close{Code: codeGoingAway}, session.Close{Code: codeNoStatus}, closing}
	stuck    = ending{session.Broken, session.Close{Code: codeUnsupported, Reason: "text with U+001E cannot go by polling"}, session.Close{Code: codeGoingAway}, closing}
)

// open opens the session of a backend's connection, which is the caller's still
// after an error.
func (h *Handler) open(sid string, who session.Identity, backend session.Backend, release func()) (*engine, error) {
	e := &engine{handler: h, sid: sid, release: release}
	s, err := h.Sessions.Open(session.Opening{
		ID: sid, Identity: who, Settings: h.Session, Backend: backend, Observer: h.Observer, Protocol: e, Ended: e.ended,
	})
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.session = s
	e.mu.Unlock()
	return e, nil
}

// begin takes the session's reader, and starts the clock. The error is
// session.ErrEnded: the program stops, or is too full.
func (e *engine) begin(fresh bool) error {
	reader, err := e.session.Attach(e.wake)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return session.ErrEnded
	}
	e.reader = reader
	e.start(fresh, time.Now())
	return nil
}

// wake is called when there is something to take.
func (e *engine) wake() {
	e.mu.Lock()
	e.stir()
}

// stir has whatever is the transport say what there is to say. The caller holds mu,
// which stir frees.
func (e *engine) stir() {
	if s := e.socket; s != nil {
		e.mu.Unlock()
		s.wake()
		return
	}
	e.flush(false)
}

// end ends the session from this side, unless it is over.
func (e *engine) end(how ending) {
	e.mu.Lock()
	e.finish(how)
}

// finish is end for who holds mu, which finish frees.
func (e *engine) finish(how ending) {
	if e.over {
		e.mu.Unlock()
		return
	}
	e.part(how)
	e.session.End(how.why, how.backend)
}

// ended is called by the session, once, whoever ended it.
func (e *engine) ended(why session.Reason) {
	how := vanished
	switch how.why = why; why {
	case session.Overflowed, session.Evicted:
		how.client = session.Close{Code: codeTryAgain, Reason: why.String()}
	case session.Drained:
		how.client.Reason = why.String()
	}
	e.mu.Lock()
	tell := e.story(why)
	if e.over {
		e.mu.Unlock()
	} else {
		e.part(how)
	}
	e.release()
	e.handler.Dialer.Live.Later(tell)
}

// story writes the line in the log about a session that has ended. The caller of
// story holds mu.
func (e *engine) story(why session.Reason) func() {
	s, transport, backend := e.session, "polling", session.Close{}
	if e.heard != nil {
		backend = *e.heard
	}
	if e.socket != nil {
		transport = "websocket"
	}
	return func() {
		var opened time.Time
		var up, down uint64
		if s != nil { // it was ended before Open had returned it
			opened = s.Opened()
			up, down = s.Tally()
		}
		e.handler.log().Info("session ended", "session", session.Public(e.sid), "route", e.handler.Route, "protocol", "engineio",
			"reason", why.String(), "transport", transport, "code", backend.Code, "text", backend.Reason, "duration", time.Since(opened), "messages_up", up, "messages_down", down)
	}
}

// part lets go of all transports. The caller holds mu, which part frees.
func (e *engine) part(how ending) {
	e.over, e.ending, e.got = true, &how, nil
	e.beat.stop()
	socket, candidate := e.socket, e.candidate
	e.candidate = nil
	e.flush(false)
	socket.close(how.client)
	candidate.close(how.client)
}
