//go:build linux

package load

import "errors"

// The subprotocol of resumable sessions, and what is offered beside it in place of
// an application's (docs/protocol.md section 3.1).
const (
	resumeProtocol = "sidecar.resume.v1"
	noProtocol     = "sidecar.none"
)

// offer is what c offers as subprotocols; "" for none.
func (c *client) offer() string {
	if c.voice.talk == nil {
		return ""
	}
	return noProtocol + ", " + resumeProtocol
}

// chosen is what must be chosen of it.
func (c *client) chosen() string {
	if c.voice.talk == nil {
		return ""
	}
	return resumeProtocol
}

// begin goes on behind the handshake: a plain client is open.
func (c *client) begin() {
	switch t := c.voice.talk; {
	case t != nil:
		t.opened = func() error { c.opened(c); return nil }
		t.news = func(payload []byte) error { return c.heard(c, payload) }
		c.tell(t.hello())
	case !c.voice.text:
		c.opened(c)
	}
}

// tell sends frames of c's session.
func (c *client) tell(parts []byte) { c.s.write(appendFrame(nil, opBinary, parts, &c.voice.key)) }

// parts acts on frames of a session that came over WebSocket.
func (c *client) parts(b []byte) error {
	t := c.voice.talk
	if len(b) == 0 {
		return errors.New("a message without a frame came")
	}
	err := t.takeAll(b)
	if err == nil && t.asked != nil {
		c.tell(appendPart(nil, partPong, t.asked...))
		t.asked = nil
	}
	return err
}

// rest acknowledges what came, if it is to be and nothing follows it.
func (c *client) rest() {
	if t := c.voice.talk; t != nil {
		c.tell(t.ack(nil))
	}
}
