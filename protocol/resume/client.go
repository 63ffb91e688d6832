package resume

import (
	"sync"
	"time"

	"sidecar/protocol/resume/wire"
	"sidecar/session"
)

// A client is one client's side of a session, whatever carriers it has (§13).
//
// Its lock is not held while anything is called that may wait, or call back: of
// session only Reader.Take and Reader.Close are called under it, which do neither.
// What is to be done once the lock is free is collected in an aftermath.
type client struct {
	handler  *Handler
	session  *session.Session
	backend  session.Backend
	id       string
	origin   string // of the page that opened it
	attempt  string
	protocol string // that the backend chose
	release  func() // for the Limiters

	mu       sync.Mutex
	up       up
	down     down
	tokens   wire.Tokens
	carriers []*carrier // attached, the oldest first
	current  *carrier   // in use; nil: the client is away
	last     wire.Kind  // of the one that was in use last; empty: none was
	using    uint64     // the generation in use (§6.3), attached or not
	turn     uint64     // the highest so far
	answers  int        // to polls, that are on their way
	sends    []*held    // requests that wait until their DATA was handed on
	clock    clock
	goaway   time.Time // when the server ends it (§9.1); zero: it does not
	parted   bool      // it has begun to
	final    bool      // an answer had the end with it
	bye      time.Time // when a client that said that it leaves is not waited for any more (§8.4); zero: it did not

	reader  *session.Reader
	wanted  uint64 // counts the readers that were wanted, and got those there were
	got     uint64
	reading bool // somebody fetches one

	over  session.Reason // why it ended; zero: it lives
	heard *session.Close // the backend's close
}

// Close codes (RFC 6455 §7.4.1).
const (
	codeNormal      = 1000
	codeGoingAway   = 1001
	codeBroken      = 1002
	codeUnsupported = 1003
	codeNoStatus    = 1005
	codeInvalid     = 1007
	codePolicy      = 1008
	codeTooBig      = 1009
	codeFailed      = 1011
	codeTryAgain    = 1013
	codeApps        = 3000
	lastCode        = 4999
)

// An aftermath is what is to be done once the lock is free.
type aftermath struct {
	ack   uint64         // the client has the backend's messages up to this one; 0: nothing new
	hand  bool           // there is something for the backend, and nobody at it
	part  bool           // the backend is told to go
	read  bool           // a reader is wanted
	stir  []*carrier     // have something to say
	end   []func()       // of carriers, without a word
	reply []func()       // to requests
	why   session.Reason // the session ends; zero: it does not
}

// do does it. The caller holds no lock.
func (c *client) do(a aftermath) {
	if a.why != 0 {
		c.session.End(a.why, session.Close{Code: codeGoingAway})
	}
	for _, f := range a.end {
		f()
	}
	if a.ack > 0 {
		_ = c.session.Ack(a.ack) // fails only once the session has ended
	}
	if a.part {
		c.backend.Close(session.Close{Code: codeGoingAway})
	}
	if a.hand {
		go c.hand()
	}
	if a.read {
		c.reread()
	}
	for _, f := range a.reply {
		f()
	}
	for _, k := range a.stir {
		k.way.wake()
	}
}

// wake is called by the session when there is something to take.
func (c *client) wake() {
	c.mu.Lock()
	k := c.current
	c.mu.Unlock()
	if k != nil {
		k.way.wake()
	}
}

// reread fetches a new reader: what goes down begins anew where the client is. There
// is one at it at a time, or of two changes of carrier the older could have the last
// word.
func (c *client) reread() {
	c.mu.Lock()
	if c.reading {
		c.mu.Unlock()
		return
	}
	c.reading = true
	for c.got != c.wanted && c.over == 0 {
		want := c.wanted
		c.mu.Unlock()
		r, err := c.session.Replace(c.wake)
		c.mu.Lock()
		c.got = want
		if err != nil {
			break // it has ended
		}
		c.reader = r
		c.down.rewind()
		if c.current == nil {
			c.leave()
		}
	}
	c.reading = false
	k := c.current
	c.mu.Unlock()
	if k != nil {
		k.way.wake()
	}
}

// want asks for a new reader; until then nothing goes down. The caller holds mu.
func (c *client) want() aftermath {
	c.wanted++
	c.reader = nil
	c.down.rewind()
	return aftermath{read: true}
}

// leave gives the reader up: the client is away. The caller holds mu.
func (c *client) leave() {
	if c.reader != nil {
		c.reader.Close()
		c.reader = nil
	}
	c.down.rewind()
}

// end ends the session, for whoever broke the protocol.
func (c *client) end(why session.Reason) {
	c.session.End(why, session.Close{Code: codeGoingAway})
}

// ended is called by the session, once, whoever ended it.
func (c *client) ended(why session.Reason) {
	c.mu.Lock()
	c.over = why
	c.reader, c.current = nil, nil
	c.handler.Sessions.Hold(-c.up.counted)
	c.down, c.up = down{}, up{}
	c.clock.stop()
	a := aftermath{stir: c.carriers}
	c.carriers = nil
	a.reply = c.answerSends(time.Now())
	tell := c.story(why)
	c.mu.Unlock()
	c.do(a)
	c.release()
	c.handler.lobby().remove(c)
	c.handler.Dialer.Live.Later(tell)
}

// story writes the line in the log about a session that has ended. The caller of
// story holds mu.
func (c *client) story(why session.Reason) func() {
	s, last, backend := c.session, c.last, session.Close{}
	if c.heard != nil {
		backend = *c.heard
	}
	return func() {
		var opened time.Time
		var up, down uint64
		if s != nil { // it was ended before Open had returned it
			opened = s.Opened()
			up, down = s.Tally()
		}
		c.handler.log().Info("session ended", "session", session.Public(c.id), "route", c.handler.Route, "protocol", "resume",
			"reason", why.String(), "transport", last, "code", backend.Code, "text", backend.Reason, "duration", time.Since(opened), "messages_up", up, "messages_down", down)
	}
}
