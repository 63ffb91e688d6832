package proxy

import (
	"errors"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/session"
)

// frameRoom is the largest payload that goes in one frame. Pings and closes go
// between frames.
const frameRoom = 64 << 10

// recordRoom is how much is written at once through TLS, which cannot go on after
// a write that timed out: so much must be taken in one WriteTimeout.
const recordRoom = 16 << 10

// pingMark is what our pings say.
const pingMark = "sidecar"

var errHangingUp = errors.New("the connection is being closed")

// stir has the hop write what is pending, if nobody is at it. The caller holds mu.
func (h *hop) stir() {
	if h.writing || h.dead || !h.owes() {
		return
	}
	h.writing = true
	h.running++
	go h.speak()
}

func (h *hop) owes() bool {
	return !h.told && h.owner != nil && (h.woken || h.ping || h.pong != nil || h.order != nil)
}

// wake says that the owner has something to write.
func (h *hop) wake() {
	h.mu.Lock()
	h.woken = true
	h.stir()
	h.mu.Unlock()
}

// speak is the life of a writer of nobody's.
func (h *hop) speak() {
	h.yield()
	h.done()
}

// acquire makes the caller the writer. It must yield.
func (h *hop) acquire() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.writing {
		h.await()
	}
	if h.told || h.order != nil {
		return errHangingUp
	}
	h.writing = true
	return nil
}

// await gives mu up until the writer has finished.
func (h *hop) await() {
	if h.turn == nil {
		h.turn = make(chan struct{})
	}
	turn := h.turn
	h.mu.Unlock()
	<-turn
	h.mu.Lock()
}

// yield ends a writer's part, once nothing is pending.
func (h *hop) yield() {
	for {
		h.mu.Lock()
		if !h.owes() {
			h.writing = false
			if h.turn != nil {
				close(h.turn)
				h.turn = nil
			}
			h.mu.Unlock()
			return
		}
		pour := h.woken
		h.woken = false
		b := h.controls(!pour)
		h.mu.Unlock()
		err := h.send(b)
		if err == nil && pour {
			err = h.pour()
		}
		if err != nil {
			h.lost(err)
		}
	}
}

func (h *hop) pour() error {
	more, err := h.owner.pour()
	if more {
		h.mu.Lock()
		h.woken = true
		h.mu.Unlock()
	}
	return err
}

// controls takes the control frames that are due, a close only with last, behind
// all else. The caller holds mu.
func (h *hop) controls(last bool) (b []byte) {
	masked := h.terms.side == backend
	if h.told {
		return nil
	}
	if h.pong != nil {
		b = append(b, controlFrame(opPong, []byte(*h.pong), masked)...)
		h.pong = nil
	}
	if h.ping {
		b = h.probe(b, masked, time.Now())
	}
	if last && h.order != nil {
		b = append(b, closeFrame(h.spoken(), strings.ToValidUTF8(h.order.Reason, "\uFFFD"), masked)...)
		h.told = true
	}
	return b
}

// probe adds our ping to b, unless the peer is not read any more: it would answer
// into a full socket, and for nobody. The caller holds mu.
func (h *hop) probe(b []byte, masked bool, now time.Time) []byte {
	h.ping = false
	defer h.arm(now)
	if h.busy {
		h.pulse.Seen(now)
		return b
	}
	h.pinged = instantOf(now)
	h.pulse.Sent(now)
	return append(b, controlFrame(opPing, []byte(pingMark), masked)...)
}

// spoken is order's code as the peer is told it. One that may stand in no frame
// (RFC 6455 §7.4), as 1006, becomes 1011 for a client and 1001 for a backend.
func (h *hop) spoken() int {
	if code := h.order.Code; code == codeNoStatus || maySend(code) {
		return code
	}
	return told(h.terms.side, "")
}

// put writes one message, as the writer.
func (h *hop) put(m session.Message) error {
	kind := websocket.TextMessage
	if m.Binary {
		kind = websocket.BinaryMessage
	}
	if len(m.Data) <= frameRoom {
		return h.ws.WriteMessage(kind, m.Data)
	}
	w, err := h.ws.NextWriter(kind)
	if err != nil {
		return err
	}
	for b := m.Data; len(b) > 0; {
		n := min(len(b), frameRoom)
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
		h.mu.Lock()
		c := h.controls(false)
		h.mu.Unlock()
		if _, err := h.write(c); err != nil {
			return err
		}
	}
	return w.Close()
}

// putAll writes messages in as few writes as it can, as the writer.
func (h *hop) putAll(all []session.Message) error {
	if len(all) > 1 {
		h.cork, h.corked = chunks.Get().(*[]byte), 0
		defer func() { chunks.Put(h.cork); h.cork = nil }()
	}
	for _, m := range all {
		if err := h.put(m); err != nil {
			return err
		}
	}
	return h.flush()
}

func (h *hop) flush() error {
	if h.cork == nil || h.corked == 0 {
		return nil
	}
	n := h.corked
	h.corked = 0
	return h.send((*h.cork)[:n])
}

// write is send, or keeps b back while the hop is corked.
func (h *hop) write(b []byte) (int, error) {
	if h.cork == nil {
		return len(b), h.send(b)
	}
	if h.corked+len(b) > len(*h.cork) {
		if err := h.flush(); err != nil {
			return 0, err
		}
	}
	if len(b) >= len(*h.cork) {
		return len(b), h.send(b)
	}
	h.corked += copy((*h.cork)[h.corked:], b)
	return len(b), nil
}

// Write takes gorilla's frames. It writes nothing of its own accord: what it would
// answer to never gets to it.
func (p port) Write(b []byte) (int, error) {
	if p.ws == nil && p.terms.side == backend {
		return p.ceremony(b)
	}
	return p.write(b)
}

// send writes all of b, however long that takes as long as there is some progress
// in each WriteTimeout.
func (h *hop) send(b []byte) error {
	secure := isTLS(h.Conn)
	for len(b) > 0 {
		piece := b
		if secure {
			piece = b[:min(len(b), recordRoom)]
		}
		h.grant(time.Now())
		n, err := h.Conn.Write(piece)
		b = b[n:]
		switch {
		case err == nil:
		case !isLate(err):
			return err
		case secure || n == 0:
			return errStalled
		}
	}
	if secure { // it writes when it reads, too, and would find the deadline passed
		h.Conn.SetWriteDeadline(time.Time{})
		h.patient = 0
	}
	return nil
}

// grant gives a write at least WriteTimeout, and sets a deadline not for each: that
// costs as much as a small write.
func (h *hop) grant(now time.Time) {
	stall := h.terms.limits.WriteTimeout
	if h.patient < instantOf(now.Add(stall)) {
		at := now.Add(stall + stall/2)
		h.patient = instantOf(at)
		h.Conn.SetWriteDeadline(at)
	}
}

// lost says that nothing more can be written. What the peer sent before, perhaps a
// close, may still be read.
func (h *hop) lost(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.told, h.order = true, nil
	if !errors.Is(err, errStalled) {
		h.broken = true
		h.hurry(now.Add(closeGrace), now)
		return
	}
	if h.verdict == nil && h.heard == nil {
		h.verdict = &session.Close{Code: codeAbnormal}
		if h.terms.side == backend {
			h.verdict.Code = told(client, "backend_stalled")
		}
	}
	h.hurry(now, now)
}
