package proxy

import (
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"sidecar/session"
)

// A Link is a session's connection to the backend.
//
// When the backend's close is delivered, its code is that of the backend's frame;
// 1012 if the socket ended without one, as when a backend stops or crashes; and
// 1011 if the backend was there but did not work: silent for the heartbeat's
// interval and timeout, taking nothing for Limits.WriteTimeout, breaking the
// protocol or a limit. The backend is told 1001 when it was silent, 1002, 1007,
// 1008 or 1009 for a breach. While the session has no room the backend is not
// read, so its pings go unanswered; that time is not its silence.
type Link struct {
	// Header is that of the backend's yes: the chosen subprotocol, cookies. It is
	// nil from Start on.
	Header http.Header

	hop     hop
	live    *Live
	session *session.Session
	early   []byte // came with the backend's handshake
}

var _ session.Backend = (*Link)(nil)

// Start begins to deliver what the backend sends to s, whose Backend l is. l is
// from now on in Dialer.Live until its connection has ended and DeliverClose was
// called.
func (l *Link) Start(s *session.Session) {
	l.hop.mu.Lock()
	l.session = s
	l.hop.mu.Unlock()
	l.Header = nil
	if early := l.early; early != nil {
		l.early = nil
		l.hop.over = l.hop.judge(early, time.Now())
	}
	l.hop.start(l, l.live, l)
}

// Drop ends a connection that no session was started with.
func (l *Link) Drop() { l.hop.stream.Close() }

// Write writes one message, and returns once the socket has taken it or never will.
// Text that is not UTF-8 is not written, and ends the connection.
func (l *Link) Write(m session.Message) error {
	h := &l.hop
	if !m.Binary && !utf8.Valid(m.Data) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.fail(session.Close{Code: codeGoingAway}, session.Close{Code: errText.code, Reason: errText.text}, time.Now())
		return errText
	}
	if err := h.acquire(); err != nil {
		return err
	}
	defer h.yield()
	if err := h.put(m); err != nil {
		h.lost(err)
		return err
	}
	return nil
}

// Ready reports whether a message, or several, of n bytes in all would be written without
// a wait: up to 4 KiB to a socket whose other end has all that was sent before. For those
// the kernel has room, but where memory is short: then Write waits all the same. It is
// never so through TLS, or where the kernel does not tell.
func (l *Link) Ready(n int) bool {
	const little = 4 << 10
	h := &l.hop
	if n > little || h.raw == nil {
		return false
	}
	h.mu.Lock()
	busy := h.writing
	h.mu.Unlock()
	return !busy && allArrived(h.raw)
}

// Close has a close frame follow what was written. For the backend's answer there
// is Limits.WriteTimeout if that is the client's own close; a session that has
// ended waits closeGrace, a second, since nobody hears the answer. Then the
// connection is cut. A code that may stand in no frame, as 1006, becomes 1001.
func (l *Link) Close(c session.Close) {
	l.hop.mu.Lock()
	s := l.session
	l.hop.mu.Unlock()
	patience := closeGrace
	if s != nil && s.Ended() == 0 {
		patience = l.hop.terms.limits.WriteTimeout
	}
	l.hop.hangUp(c, patience)
}

// Room says that the backend may be read again.
func (l *Link) Room() {
	l.hop.mu.Lock()
	defer l.hop.mu.Unlock()
	l.hop.letGo()
}

func (l *Link) receive(m session.Message) (bool, *fault) {
	m.Data = slices.Clone(m.Data)
	return l.session.Deliver(m), nil
}

func (l *Link) pour() (bool, error) { return false, nil }

func (l *Link) ended(c session.Close) { l.session.DeliverClose(c) }

func (l *Link) start([]byte) {}

// shutdown ends the session, for the program is stopping.
func (l *Link) shutdown(code int, reason string) {
	l.session.End(session.Drained, session.Close{Code: code, Reason: reason})
}

func (l *Link) cut() { l.hop.cut() }
