package session

import (
	"sync"
	"time"
)

// A Message is one WebSocket message. Its data belongs to the session from Deliver
// on, and is never modified.
type Message struct {
	Binary bool
	Data   []byte
}

// A Close is a WebSocket close: the code and the reason of the frame (RFC 6455
// §5.5.1), or those that stand for one that did not come (§7.1.5).
type Close struct {
	Code   int
	Reason string
}

// A Backend is a session's connection to the backend. Its methods are called
// without locks.
type Backend interface {
	// Write writes one message, and returns once the socket has taken it or never
	// will: then nothing more is written, and DeliverClose is to come. It may wait
	// for a slow backend, by its own deadline, and must return soon after Close. It
	// is not called twice at once, nor keeps the message.
	Write(m Message) error
	// Close begins to close the connection. It must not wait, and may be called
	// again and while a Write waits. What the backend sends until it has closed
	// still comes by Deliver, and DeliverClose is called in the end.
	Close(c Close)
	// Room says that the backend may be read again: it is called once for each time
	// that Deliver began to return false, also where the session ends meanwhile, and
	// maybe before that Deliver has returned. It must not wait, nor call the session.
	Room()
}

// A Session is one client's ordered, bounded and resumable conversation with one
// backend connection. It starts no goroutine and does no I/O of its own: whoever
// reads the client calls Send, whoever reads the backend calls Deliver, and
// carriers pull what goes to the client through a Reader. All methods may be
// called from any goroutine.
//
// Numbers count messages from 1, each direction by itself. A close has the number
// behind the last message.
type Session struct {
	sessions *Sessions
	key      key
	settings *Settings // shared by the sessions of a route
	backend  Backend
	observer Observer
	protocol any
	ended    func(Reason)
	opened   time.Time

	mu         sync.Mutex
	log        log           // of what goes to the client
	sent       uint64        // the highest number that a reader took
	close      *Close        // the backend's last word, behind the log; nil: there is none yet
	reader     *Reader       // nil: the client is away
	left       time.Time     // when it left; zero: it has a reader
	heard      time.Time     // of the client; from then on it has TTL, where it is mortal
	timer      *time.Timer   // fires when TTL may be over; nil: it need not
	next, prev *Session      // in Sessions.away, by left; under its lock
	received   uint64        // the last of the client's messages that the backend's socket has
	turn       chan struct{} // is full while somebody sends; nil: nobody has yet
	waiting    int           // how many wait for it
	paused     bool          // Deliver said that there is no room
	closing    bool          // nothing more goes to the backend: a close did, or a Write failed
	parted     bool          // received counts the client's close, too
	reason     Reason        // why the session has ended; zero: it lives
}

// ID is the name by which a client finds its session again. It is a secret: no log
// and no metric may have it.
func (s *Session) ID() string { return s.key.id }

// Public is the session's name in logs, metrics and towards the backend. It tells
// nothing of ID.
func (s *Session) Public() string { return Public(s.key.id) }

// Protocol is what Opening.Protocol was: the state of the protocol that opened s.
func (s *Session) Protocol() any { return s.protocol }

// Opened is when s began.
func (s *Session) Opened() time.Time { return s.opened }

// Tally counts the messages that have arrived: up, those that the backend's socket
// took, and down, those that the client has acknowledged. A close is no message. It
// stays true of a session that has ended.
func (s *Session) Tally() (up, down uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	up = s.received
	if s.parted {
		up--
	}
	return up, s.log.base
}

// Ended is why s has ended, or zero while it lives.
func (s *Session) Ended() Reason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

// End ends s at once, for a reason that its tombstone keeps, and closes the
// backend's connection with c. What the client does not have yet is lost to it. A
// session that has ended stays as it is.
func (s *Session) End(why Reason, c Close) {
	s.mu.Lock()
	a := s.end(why, s.hangUp(c))
	s.mu.Unlock()
	s.do(a)
}

// An aftermath is what is called once the lock is free: a carrier that is woken may
// Take at once, a backend may Deliver at once.
type aftermath struct {
	wake   func()
	paused bool
	room   bool
	hangUp *Close
	ended  Reason
}

func (s *Session) do(a aftermath) {
	if a.wake != nil {
		a.wake()
	}
	if a.paused {
		s.observer.Paused()
	}
	if a.hangUp != nil {
		s.backend.Close(*a.hangUp)
	}
	if a.room {
		s.backend.Room()
	}
	if a.ended == 0 {
		return
	}
	s.observer.Ended(a.ended, time.Since(s.opened))
	if s.ended != nil {
		s.ended(a.ended)
	}
}

// end ends s. c is what the backend is told; nil: it has closed already.
func (s *Session) end(why Reason, c *Close) aftermath {
	if s.reason != 0 {
		return aftermath{}
	}
	a := aftermath{wake: s.rouse(), room: s.paused, hangUp: c, ended: why}
	s.come()
	s.reason = why
	s.sessions.remove(s)
	s.sessions.held.Add(-s.log.size)
	s.log, s.close, s.reader, s.paused = log{base: s.log.base}, nil, nil, false
	if s.timer != nil { // it would keep all this in memory
		s.timer.Stop()
		s.timer = nil
	}
	return a
}

// leave begins an absence of the client.
func (s *Session) leave() {
	s.left = time.Now()
	s.sessions.left(s)
	s.heed()
}

// come ends an absence.
func (s *Session) come() (away time.Duration) {
	if s.left.IsZero() {
		return 0
	}
	away = time.Since(s.left)
	s.left = time.Time{}
	s.sessions.back(s)
	return away
}

// mortal reports whether s ends unless its client is heard of: it is away, or has
// a close to acknowledge.
func (s *Session) mortal() bool {
	return s.reason == 0 && (!s.left.IsZero() || s.close != nil)
}

// heed gives s TTL from now on, if it is mortal. The timer is left to fire early,
// and then set anew: a client that polls comes and goes too often to do it here.
func (s *Session) heed() {
	if !s.mortal() {
		return
	}
	s.heard = time.Now()
	if s.timer == nil {
		s.timer = time.AfterFunc(s.settings.TTL, s.expire)
	}
}

// expire ends s if TTL is over.
func (s *Session) expire() {
	s.mu.Lock()
	var a aftermath
	switch rest := s.settings.TTL - time.Since(s.heard); {
	case !s.mortal():
		s.timer = nil
	case rest > 0:
		s.timer.Reset(rest)
	default:
		a = s.end(Expired, s.hangUp(Close{goingAway, "the client did not come back"}))
	}
	s.mu.Unlock()
	s.do(a)
}

// evict ends s if its client is away still.
func (s *Session) evict() {
	s.mu.Lock()
	var a aftermath
	if !s.left.IsZero() {
		a = s.end(Evicted, s.hangUp(Close{tryAgainLater, "too many sessions are away"}))
	}
	s.mu.Unlock()
	s.do(a)
}

// hangUp is what the backend is told at the end: nothing, where it has closed.
func (s *Session) hangUp(c Close) *Close {
	if s.close != nil {
		return nil
	}
	return &c
}

// Close codes (RFC 6455 §7.4.1, and the registry).
const (
	goingAway     = 1001
	tryAgainLater = 1013
)
