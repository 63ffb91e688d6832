package proxy

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"sidecar/session"
)

// errHeard is the end of what a peer sends: its close frame came.
var errHeard = errors.New("close frame")

// pause is how long nothing came where a reader is taken for an idle one.
const pause = time.Second

// run is the reader's life. Its stack has to grow for a message, and would stay so
// while nothing comes: the collector halves none of the two smallest sizes that
// still has to hold a wait for bytes. So a reader that was woken after a pause has
// a loop wait in its place or, where there is none, a new goroutine. One that is kept
// busy does not, for it costs a microsecond or two.
func (h *hop) run() {
	for {
		err := h.next()
		if err != nil && err != errIdle {
			h.finish(err)
			h.leave()
			return
		}
		if err == nil && (!h.rested || h.begun() || h.over != nil) {
			continue // an end that came with a message is not to be waited for
		}
		h.rested = false
		if !h.parks {
			go h.run()
			return
		}
		if h.park() {
			return
		}
	}
}

// keptMessage is up to which size the buffer of a message is kept for another.
const keptMessage = 64 << 10

var messages = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// next passes one message on, and waits for room behind it. What is less than that,
// or no message, it only takes.
func (h *hop) next() error {
	if !h.begun() {
		if err := h.fill(); err != nil || !h.begun() {
			return err
		}
	}
	room, err := h.hand()
	if err == nil && !room {
		if len(h.rest) == 0 {
			h.release()
		}
		h.wait()
	}
	h.setBusy(false)
	return err
}

// hand reads a message and gives it to the owner. Its buffer is free again before
// the reader waits, which may last as long as the session does.
func (h *hop) hand() (room bool, err error) {
	buf := messages.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= keptMessage {
			buf.Reset()
			messages.Put(buf)
		}
	}()
	kind, r, err := h.ws.NextReader()
	if err == nil {
		_, err = buf.ReadFrom(r)
	}
	if err != nil {
		if h.over != nil {
			return false, h.over
		}
		return false, err
	}
	h.taken++
	m := session.Message{Binary: kind == websocket.BinaryMessage, Data: buf.Bytes()}
	if !m.Binary && !utf8.Valid(m.Data) {
		return false, errText
	}
	h.setBusy(true)
	room, bad := h.owner.receive(m)
	if bad != nil {
		return false, bad
	}
	return room, nil
}

// begun reports whether gorilla has, or is about to be given, some of a message.
// It would wait for one deep in its own calls, on a stack that nobody needs while
// nothing comes.
func (h *hop) begun() bool {
	return len(h.rest) > 0 || h.walk.messages > h.taken || h.walk.open
}

// setBusy says that the peer is not read meanwhile, which is not its silence: that
// begins when it is read again. A peer that is held back message by message is read
// for moments only, and a ping in one of them would be answered into a full socket.
// gorilla, for one, gives such an answer up after a second, and can write no more.
func (h *hop) setBusy(yes bool) {
	h.mu.Lock()
	h.busy = yes
	if !yes {
		h.pulse.Seen(time.Now())
	}
	h.mu.Unlock()
}

// wait lasts until Room, which may have been called.
func (h *hop) wait() {
	h.mu.Lock()
	if h.resumed {
		h.resumed = false
		h.mu.Unlock()
		return
	}
	room := make(chan struct{})
	h.room = room
	h.mu.Unlock()
	<-room
	h.mu.Lock()
	h.resumed = false
	h.mu.Unlock()
}

// fill waits for bytes, judges them, and has data frames in rest. An error says
// that nothing more comes.
func (h *hop) fill() error {
	h.release()
	if h.over != nil {
		return h.over
	}
	b, err := h.read()
	if err == errIdle {
		return err
	}
	if err == nil || len(b) > 0 {
		err = errors.Join(h.judge(b, time.Now()), err)
	}
	h.over = err
	if len(h.rest) > 0 {
		return nil
	}
	return err
}

// smallRead is how much is read at once where a buffer is needed beforehand, as
// with TLS.
const smallRead = 1 << 10

// read is the stream's, but that no large buffer waits with it.
func (h *hop) read() ([]byte, error) {
	if h.parks {
		return h.readAwhile()
	}
	if h.raw != nil {
		return h.stream.read()
	}
	if h.chunk == nil {
		b := make([]byte, smallRead)
		h.chunk = &b
	}
	n, err := h.Conn.Read(*h.chunk)
	return (*h.chunk)[:n], err
}

func (h *hop) release() {
	if h.raw != nil {
		h.stream.release()
	}
}

// judge walks what was read, deals with control frames and leaves data frames in
// rest.
func (h *hop) judge(b []byte, now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pulse.Seen(now)
	h.doubt = 0
	if h.ping { // not needed any more, and a burst may be what holds the answer back
		h.ping = false
		h.arm(now)
	}
	h.rested = h.rested || h.last.since(now) >= h.terms.pause
	h.last = instantOf(now)
	var data splice
	defer func() { h.rest = data.run }()
	for len(b) > 0 {
		n, ev, frame, bad := h.walk.next(b, false, now, &h.terms.rules)
		switch ev {
		case walked:
			data.add(b[:n])
		case completed:
			data.add(frame)
		case control:
			bad = h.control(frame, now)
		}
		if bad != nil {
			return bad
		}
		if h.heard != nil {
			return errHeard
		}
		b = b[n:]
	}
	h.clock(now)
	return nil
}

// control deals with a whole control frame. The caller holds mu.
func (h *hop) control(frame []byte, now time.Time) *fault {
	var room [maxControl]byte
	payload := appendPayload(room[:0], frame)
	switch frame[0] & 0xf {
	case opPing:
		pong := string(payload) // only the latest is answered (RFC 6455 §5.5.3)
		h.pong = &pong
		h.stir()
	case opPong:
		if h.pinged != 0 && string(payload) == pingMark {
			h.terms.observer.Answered(h.terms.side.String(), h.pinged.since(now))
			h.pinged = 0
		}
	case opClose:
		code, reason, ok := parseClose(payload)
		switch {
		case !ok:
			return errCloseCode
		case !utf8.ValidString(reason):
			return errText
		}
		h.heard = &session.Close{Code: code, Reason: reason}
	}
	return nil
}

// clock starts and stops the time that a frame may take, as pair does. The caller
// holds mu.
func (h *hop) clock(now time.Time) {
	switch {
	case h.walk.idle():
		h.frameBy = 0
	case h.frameBy == 0 || h.walk.begun:
		h.frameBy = instantOf(now.Add(h.terms.limits.WriteTimeout + time.Duration(h.walk.left/minRate)*time.Second))
		h.arm(now)
	}
	h.walk.begun = false
}

// A port is what gorilla takes for its connection.
type port struct{ *hop }

var _ net.Conn = port{}

// Read gives gorilla the data frames that passed the walker.
func (p port) Read(b []byte) (int, error) {
	h := p.hop
	for len(h.rest) == 0 { // bufio would not ask for ever past control frames
		if err := h.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, h.rest)
	h.rest = h.rest[n:]
	return n, nil
}

func (p port) Close() error                     { return nil } // the hop sees to it
func (p port) SetDeadline(time.Time) error      { return nil }
func (p port) SetReadDeadline(time.Time) error  { return nil }
func (p port) SetWriteDeadline(time.Time) error { return nil }
