//go:build linux

package load

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
)

// The types of frames of docs/protocol.md section 4.2 that are used here.
const (
	partHello    = 1
	partWelcome  = 2
	partContinue = 5
	partData     = 7
	partAck      = 8
	partPing     = 10
	partPong     = 11
	partPad      = 13
)

// resumeWindow is how much the clients let a server send unacknowledged, in bytes.
const resumeWindow = 256 << 10

// A talk is one client's side of a resumable session, whatever carries it. It has
// one carrier only, of generation 1.
type talk struct {
	attempt, session, token string
	// Numbers of messages: sent and heard, and what the server handed on and took.
	said, heard, handed, taken uint64
	// asked is the mark of a PING that was not answered yet; nil for none.
	asked []byte
	// opened and news are told of the WELCOME and of a message's payload, which is
	// valid during the call only.
	opened func() error
	news   func(payload []byte) error
}

func newTalk() *talk {
	return &talk{attempt: fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())}
}

// appendPart adds one frame.
func appendPart(b []byte, kind byte, body ...byte) []byte {
	return append(binary.AppendUvarint(append(b, kind), uint64(len(body))), body...)
}

// hello opens the session, and puts its carrier to use.
func (t *talk) hello() []byte {
	return appendPart(nil, partHello, fmt.Appendf(nil, `{"version":1,"attempt":"%s","generation":1,"use":1,"received":0,"lowest":1,"window":%d}`,
		t.attempt, resumeWindow)...)
}

// front is what a poll's or send's body begins with: CONTINUE and ACK.
func (t *talk) front() []byte {
	body := append([]byte{1, byte(len(t.session))}, t.session...)
	body = append(append(body, byte(len(t.token))), t.token...)
	return t.ack(appendPart(nil, partContinue, body...))
}

// ack adds the ACK of all that was heard.
func (t *talk) ack(b []byte) []byte {
	return appendPart(b, partAck, append(binary.AppendUvarint(nil, t.heard), 0, 0)...)
}

// say adds the next message, in binary and one piece.
func (t *talk) say(b, payload []byte) []byte {
	t.said++
	head := append(binary.AppendUvarint([]byte{1}, t.said), 0)
	b = append(b, partData)
	b = binary.AppendUvarint(b, uint64(len(head)+len(payload)))
	return append(append(b, head...), payload...)
}

// cutPart takes the first frame off b. It fails with errShort while that is not
// whole, and at once where b begins with none, as a web page does.
func cutPart(b []byte) (kind byte, body, rest []byte, err error) {
	if len(b) > 0 && (b[0] == 0 || b[0] > partPad && b[0] < 128 || b[0] > 191) {
		return 0, nil, nil, fmt.Errorf("reading a frame: %.20q begins none", b)
	}
	if len(b) < 2 {
		return 0, nil, nil, errShort
	}
	n, size := binary.Uvarint(b[1:])
	switch {
	case size < 0 || n > most:
		return 0, nil, nil, fmt.Errorf("reading a frame: bytes %#x begin none that was sent", b[:2])
	case size == 0 || len(b) < 1+size+int(n):
		return 0, nil, nil, errShort
	}
	end := 1 + size + int(n)
	return b[0], b[1+size : end], b[end:], nil
}

// take acts on the whole frames of b, and returns what is behind them.
func (t *talk) take(b []byte) ([]byte, error) {
	for {
		kind, body, rest, err := cutPart(b)
		if errors.Is(err, errShort) {
			return b, nil
		}
		if err == nil {
			err = t.act(kind, body)
		}
		if err != nil {
			return nil, err
		}
		b = rest
	}
}

// takeAll is take where nothing may be behind them.
func (t *talk) takeAll(b []byte) error {
	rest, err := t.take(b)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%q ends inside a frame", b)
	}
	return err
}

func (t *talk) act(kind byte, body []byte) error {
	switch {
	case kind == partPad:
		return nil
	case kind == partWelcome && t.session == "":
		return t.welcomed(body)
	case kind == partAck && t.session != "":
		return t.acknowledged(body)
	case kind == partPing && t.session != "":
		t.asked = append([]byte{}, body...)
		return nil
	case kind == partData && t.session != "":
		return t.message(body)
	}
	return fmt.Errorf("a frame of type %d came that nobody awaits: %q", kind, body)
}

func (t *talk) welcomed(body []byte) error {
	var w struct {
		Version, Received, Lowest, Window int
		Session, Token                    string
	}
	if err := json.Unmarshal(body, &w); err != nil {
		return fmt.Errorf("reading %q: %w", body, err)
	}
	if w.Version != 1 || w.Received != 0 || w.Lowest != 1 || w.Window < 4096 ||
		w.Session == "" || len(w.Session) > 127 || w.Token == "" || len(w.Token) > 64 {
		return fmt.Errorf("a session was opened with %q", body)
	}
	t.session, t.token = w.Session, w.Token
	return t.opened()
}

// acknowledged takes an ACK, which must tell no more than was said. One that tells
// less than another came late: answers overtake each other (section 7.4).
func (t *talk) acknowledged(body []byte) error {
	n, ok := varints(body)
	if !ok || n[2] != 0 || n[0]+n[1] > t.said {
		return fmt.Errorf("%#x acknowledges messages when %d were sent", body, t.said)
	}
	t.handed, t.taken = max(t.handed, n[0]), max(t.taken, n[0]+n[1])
	return nil
}

// varints are the three of which an ACK is made.
func varints(b []byte) (n [3]uint64, ok bool) {
	for i := range n {
		v, size := binary.Uvarint(b)
		if size <= 0 {
			return n, false
		}
		n[i], b = v, b[size:]
	}
	return n, len(b) == 0
}

// message takes a DATA, which must be the next one and whole.
func (t *talk) message(body []byte) error {
	if len(body) == 0 || body[0] != 1 {
		return fmt.Errorf("a message begins with %q; want a whole one in binary", body[:min(len(body), 1)])
	}
	number, size := binary.Uvarint(body[1:])
	if size <= 0 || number != t.heard+1 || len(body) < 2+size || body[1+size] != 0 {
		return fmt.Errorf("message %d, %#x, came after %d", number, body[:min(len(body), 12)], t.heard)
	}
	t.heard++
	return t.news(body[2+size:])
}
