package proxy

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/heartbeat"
	"sidecar/loop"
	"sidecar/session"
)

// Close codes that only sessions' connections send.
const (
	codeInvalid = 1007 // RFC 6455 §8.1: text that is not UTF-8
)

var errText = &fault{codeInvalid, "text is not UTF-8"}

// A hop is one WebSocket connection that this program speaks itself, a session's
// to its backend or a client's that carries one. gorilla puts messages together
// and frames them; beneath it sits the walker that raw connections have, so the
// limits and rules are the same: gorilla counts neither empty fragments nor
// control frames, and its own limit would be of compressed bytes. No extension is
// ever agreed, so a message has as many bytes as came.
//
// An idle hop has one goroutine, which waits for bytes without a buffer, or after a
// while none: then a loop waits in its place. Whoever has something to write becomes
// the writer, until nothing is left to be written.
type hop struct {
	stream
	ws    *websocket.Conn
	owner owner
	terms *hopTerms
	live  *Live
	place uint32 // in live

	// The reader's own.
	walk   walker
	rest   []byte  // of what was read: judged, and not yet gorilla's
	over   error   // why nothing comes behind rest
	taken  int64   // messages that came out of gorilla
	last   instant // when bytes came; zero: none did
	rested bool    // bytes came after a pause
	parks  bool    // it may wait in a loop
	loaned bool    // it was parked since it last read
	wakes  instant // the read deadline that is set; zero: none that counts

	// The writer's own.
	cork    *[]byte // what is to be written at once; nil: each write by itself
	corked  int
	patient instant // the write deadline that is set

	mu      sync.Mutex // never held while reading or writing
	pulse   heartbeat.Pulse
	timer   *time.Timer
	rings   instant // when timer does; zero: it is not set
	frameBy instant // when the frame that is being read must be complete; zero: none is
	doubt   instant // when the peer was first found wanting
	pinged  instant // when our unanswered ping went out
	by      instant // when the connection is cut; zero: no end is in sight
	pong    *string // what the peer is owed
	order   *session.Close
	verdict *session.Close // what the owner is told, whatever the peer says; nil: what it says
	heard   *session.Close // the peer's close
	turn    chan struct{}  // closed when the writer has finished; nil: nobody waits
	room    chan struct{}  // closed when the reader may go on; nil: it is not waiting
	running int8           // goroutines
	ping    bool           // a ping of ours is due
	woken   bool           // the owner has something to write
	writing bool           // there is a writer
	busy    bool           // the peer is not read, by our choice
	told    bool           // a close frame has gone out, or nothing more can
	resumed bool           // Room was called
	dead    bool           // the reader has ended
	broken  bool           // writing failed
	severed bool           // the connection is being cut, or was

	loop   *loop.Loop  // where it was parked; nil: it was not yet
	parked loop.Socket // the loop's own: open while it is
}

// hopTerms are what the hops of a route have in common.
type hopTerms struct {
	beat     heartbeat.Policy
	limits   Limits
	rules    rules
	side     side // which end the peer is
	observer Observer
	loops    *loop.Group   // where hops are parked; nil: nowhere
	pause    time.Duration // after which they are
}

func newTerms(s side, beat heartbeat.Policy, l Limits, o Observer) *hopTerms {
	if o == nil {
		o = nobody{}
	}
	l = l.orDefault()
	return &hopTerms{beat: beat, limits: l, rules: rules{masked: s == client, limit: l.Message}, side: s, observer: o, pause: pause}
}

// An owner is what a hop is for. Its methods are called without locks.
type owner interface {
	// receive has a message of the peer's, whose data is only lent, and reports
	// whether another may come before Room. It may wait: that is felt by the peer.
	receive(m session.Message) (room bool, bad *fault)
	// pour writes some of what the owner has to write, as the writer, and reports
	// whether to ask it again.
	pour() (more bool, err error)
	// ended is told the peer's close, or what stands for it, behind all messages.
	ended(c session.Close)
}

func (h *hop) init(c net.Conn, t *hopTerms) {
	h.stream = *newStream(c)
	if h.raw != nil {
		h.try = h.tryRead
		h.parks = loop.Native && t.loops != nil && socketOf(c) != nil
	}
	h.terms = t
	c.SetDeadline(time.Time{}) // the handshake's; later it could be that of a write
}

// start begins to read, and to write what is due.
func (h *hop) start(o owner, live *Live, r relayed) {
	place, draining, code, reason := live.add(r)
	now := time.Now()
	h.mu.Lock()
	h.owner, h.live, h.place = o, live, place
	h.running++
	h.pulse = h.terms.beat.Start(now, rand.Float64())
	h.arm(now)
	h.stir()
	h.mu.Unlock()
	if draining {
		r.shutdown(code, reason)
	}
	go h.run()
}

// cut ends the connection at once.
func (h *hop) cut() {
	h.mu.Lock()
	h.told, h.severed = true, true
	h.letGo()
	h.mu.Unlock()
	h.rouse()
	h.stream.Close()
}

// letGo has a reader go on that waits for room. The caller holds mu.
func (h *hop) letGo() {
	h.resumed = true
	if h.room != nil {
		close(h.room)
		h.room = nil
	}
}

// hangUp begins to close the connection, behind what is being written, and gives
// the peer until then to answer.
func (h *hop) hangUp(c session.Close, patience time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.order == nil && !h.told {
		h.order = &c
	}
	h.hurry(now.Add(patience), now)
	h.stir()
}

// hurry brings forward the time at which the connection is cut. The caller holds mu.
func (h *hop) hurry(by, now time.Time) {
	if at := instantOf(by); h.by == 0 || at < h.by {
		h.by = at
		h.arm(now)
	}
}

// fail decides the end: the peer is told one thing, the owner another. The caller
// holds mu.
func (h *hop) fail(peer, owner session.Close, now time.Time) {
	if h.verdict == nil && h.heard == nil {
		h.verdict = &owner
	}
	if h.order == nil && !h.told {
		h.order = &peer
	}
	h.hurry(now.Add(closeGrace), now)
	h.stir()
}
