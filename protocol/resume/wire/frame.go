package wire

import "fmt"

// A Type is a frame's first byte.
type Type byte

// The types of frames (§4.2). The JSON ones are Hello, Welcome, Refused and Gone.
const (
	TypeHello Type = iota + 1
	TypeWelcome
	TypeRefused
	TypeGone
	TypeContinue
	TypeUse
	TypeData
	TypeAck
	TypeClose
	TypePing
	TypePong
	TypeGoaway
	TypePad
)

// optional are the types that may be added without a new version: who does not
// know one skips it.
const (
	optional     Type = 0x80
	lastOptional Type = 0xbf
)

type side byte

const (
	client side = 1 << iota
	server
)

var types = [...]struct {
	name string
	most int // bytes of the body
	from side
}{
	TypeHello:    {"HELLO", maxJSON, client},
	TypeWelcome:  {"WELCOME", maxJSON, server},
	TypeRefused:  {"REFUSED", maxJSON, server},
	TypeGone:     {"GONE", maxJSON, server},
	TypeContinue: {"CONTINUE", 3*maxVar + maxID + maxToken, client},
	TypeUse:      {"USE", 2 * maxVar, client},
	TypeData:     {"DATA", 1 + 2*maxVar + MaxPayload, client | server},
	TypeAck:      {"ACK", 3 * maxVar, client | server},
	TypeClose:    {"CLOSE", maxVar + 2 + MaxReason, client | server},
	TypePing:     {"PING", maxPing, client | server},
	TypePong:     {"PONG", maxPing, client | server},
	TypeGoaway:   {"GOAWAY", maxVar, server},
	TypePad:      {"PAD", maxPad, server},
}

// known reports whether t is in the table.
func (t Type) known() bool { return t > 0 && int(t) < len(types) }

// Optional reports whether a frame of type t is to be skipped by who does not know it.
func (t Type) Optional() bool { return t >= optional && t <= lastOptional }

// FromClient reports whether a client may send t, and FromServer whether a server may.
func (t Type) FromClient() bool { return t.Optional() || t.known() && types[t].from&client != 0 }

// FromServer reports whether a server may send t.
func (t Type) FromServer() bool { return t.Optional() || t.known() && types[t].from&server != 0 }

func (t Type) String() string {
	if t.known() {
		return types[t].name
	}
	return fmt.Sprintf("type %#02x", byte(t))
}

// most is the most bytes of a body; -1: there is no such type.
func (t Type) most() int {
	switch {
	case t.known():
		return types[t].most
	case t.Optional():
		return maxOther
	}
	return -1
}

// A Frame is one frame of a type that is known or may be skipped, and whose body
// is not longer than the type allows. The body is lent: it is part of what was split.
type Frame struct {
	Type Type
	Body []byte
}

// Split takes the first frame from p: of a WebSocket message or a request's body,
// which holds whole frames only. With ErrCut, p may be the beginning of a frame.
func Split(p []byte) (f Frame, rest []byte, err error) {
	head, body, err := header(p)
	if err != nil {
		return Frame{}, nil, err
	}
	if len(p) < head+body {
		return Frame{}, nil, ErrCut
	}
	return Frame{Type(p[0]), p[head : head+body : head+body]}, p[head+body:], nil
}

// header is how many bytes the frame's head and body have.
func header(p []byte) (head, body int, err error) {
	if len(p) == 0 {
		return 0, 0, ErrCut
	}
	t := Type(p[0])
	most := t.most()
	if most < 0 {
		return 0, 0, fmt.Errorf("%w: %#02x", ErrType, p[0])
	}
	n, size, err := number(p[1:])
	if err != nil {
		return 0, 0, err
	}
	if n > uint64(most) {
		return 0, 0, fmt.Errorf("%w: %v of %d bytes; at most %d", ErrLong, t, n, most)
	}
	return 1 + size, int(n), nil
}

// appendHead appends a frame's head.
func appendHead(dst []byte, t Type, body int) []byte {
	return appendNumber(append(dst, byte(t)), uint64(body))
}
