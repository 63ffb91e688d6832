package engineio

import (
	"context"
	"time"

	"sidecar/proxy"
	"sidecar/session"
)

// A socket is a client's WebSocket, with one packet in each frame. Text is a packet
// as in a payload; binary is a message as it is, or with base64 text as well.
type socket struct {
	engine  *engine
	carrier *proxy.Carrier // nil: the handshake is not over
	base64  bool

	// Under the engine's lock.
	hello   []byte // the first packet of a session that begins here; nil: it is said, or was by polling
	probed  bool   // the client has asked whether this works
	owed    bool   // and was not told yet
	writing bool   // what Next returned is on its way
	end     uint64 // the number of the backend's close, once that was taken
	timer   *time.Timer
	by      time.Time // when a candidate is given up

	last uint64 // the number of the last message on its way; the writer's own
}

var _ proxy.Codec = (*socket)(nil)

func (s *socket) wake() { s.carrier.Wake() }

// close begins to close it, if there is one.
func (s *socket) close(c session.Close) {
	if s == nil || s.carrier == nil {
		return
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	s.carrier.Close(c)
}

// Receive has a frame of the client's.
func (s *socket) Receive(m session.Message) *session.Close {
	e := s.engine
	e.mu.Lock()
	current, candidate := e.socket == s && !e.over, e.candidate == s
	e.mu.Unlock()
	switch {
	case current:
		return s.hear(m)
	case candidate:
		return s.prove(m)
	}
	return nil
}

// hear has a frame of the transport's.
func (s *socket) hear(m session.Message) *session.Close {
	e, p, ok := s.engine, packet{message, m}, true
	if !m.Binary {
		p, ok = parse(m.Data)
	}
	if how := e.control(p, ok); how != nil {
		e.end(*how)
		return &how.client
	}
	if p.kind == message && e.enter(s) {
		_ = e.pass(context.Background(), p.Message) // fails only where the end is on its way
		e.exit()
	}
	return nil
}

// Next has what is to be written: what the protocol has to say goes by itself, ahead
// of the messages.
func (s *socket) Next(buf []session.Message) ([]session.Message, *session.Close) {
	e := s.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	text := func(b []byte) ([]session.Message, *session.Close) {
		s.writing = true
		return append(buf, session.Message{Data: b}), nil
	}
	switch {
	case e.over || e.candidate != s && e.socket != s:
	case s.owed: // the client may have changed over without waiting for it
		s.owed = false
		return text([]byte(answered))
	case e.candidate == s:
	case s.hello != nil:
		hello := s.hello
		s.hello = nil
		return text(hello)
	case e.beat.owed:
		e.beat.owed = false
		return text([]byte{byte(ping)})
	case e.writing == 0: // or what was said by polling would come behind this
		return s.draw(buf)
	}
	return buf, nil
}

// socketRoom is how many bytes of messages are taken at once.
const socketRoom = 64 << 10

// draw takes messages. The caller holds the engine's lock.
func (s *socket) draw(buf []session.Message) ([]session.Message, *session.Close) {
	e := s.engine
	kept := e.got
	if len(kept) > 0 {
		buf = nil
	}
	b, err := e.reader.Take(buf, socketRoom)
	if err != nil || s.end > 0 || e.jammed {
		return buf, nil // the end is on its way
	}
	all := b.Messages
	if len(kept) > 0 {
		all = append(kept, all...)
		e.got = nil
	}
	s.last = b.Last()
	if b.Close != nil {
		e.heard = b.Close
		s.end = s.last
		s.last--
	}
	s.writing = len(all) > 0
	s.frame(all)
	return all, b.Close
}

// frame makes packets of messages, in one piece of memory.
func (s *socket) frame(all []session.Message) {
	size := 0
	for _, m := range all {
		if !m.Binary || s.base64 {
			size += room(m)
		}
	}
	if size == 0 {
		return
	}
	frames := make([]byte, 0, size)
	for i, m := range all {
		if m.Binary && !s.base64 {
			continue
		}
		start := len(frames)
		frames = appendMessage(frames, m)
		all[i] = session.Message{Data: frames[start:len(frames):len(frames)]}
	}
}

// Written says that the client's kernel has what Next returned.
func (s *socket) Written() {
	if s.last > 0 {
		_ = s.engine.session.Ack(s.last) // fails only once the session has ended
	}
	e := s.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	s.writing = false
	if e.candidate == s && s.probed && !s.owed {
		s.urge(firstNoop)
	}
}

// Gone says that the client's WebSocket is no more. A candidate's client goes on
// polling.
func (s *socket) Gone(c session.Close) {
	e := s.engine
	e.mu.Lock()
	if e.candidate == s {
		e.candidate = nil
		s.timer.Stop()
	}
	current, end := e.socket == s && !e.over, s.end
	e.mu.Unlock()
	switch {
	case !current:
	case end > 0 && c.Code != codeAbnormal:
		_ = e.session.Ack(end) // the client has answered the backend's close
	default:
		how := vanished
		switch c.Code {
		case codeBroken, codeInvalid, codePolicy, codeTooBig: // of WebSocket's own rules
			how = breach
		case codeNormal, codeNoStatus:
			how.backend = c
		default:
			if c.Code >= codeApps {
				how.backend = c
			}
		}
		e.end(how)
	}
}
