package engineio

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"

	"sidecar/session"
)

// What revision 4 makes of packets. It is pure, and all that another revision would
// have to bring: handler, transports and clocks deal in kinds and messages only.

// A kind is what a packet is, as the digit that it begins with on the wire.
type kind byte

const (
	open    kind = '0'
	closing kind = '1'
	ping    kind = '2'
	pong    kind = '3'
	message kind = '4'
	upgrade kind = '5'
	noop    kind = '6'
)

const (
	separator = 0x1e // between the packets of a payload
	inBase64  = 'b'  // begins a binary message in base64, in place of the kind
)

// What a probing WebSocket and the server say to each other.
const (
	probe    = "2probe"
	answered = "3probe"
)

// A packet is one of a client's. Data is a part of what it was read from.
type packet struct {
	kind kind
	session.Message
}

// cut takes the first packet off a payload. The data of a binary one takes its
// base64's place. ok is false for what is no packet: then nothing behind it is to be
// believed. more reports whether there is a rest, which may be empty, and is then no
// packet.
func cut(payload []byte) (p packet, rest []byte, more, ok bool) {
	first := payload
	if i := bytes.IndexByte(payload, separator); i >= 0 {
		first, rest, more = payload[:i], payload[i+1:], true
	}
	p, ok = parse(first)
	return p, rest, more, ok
}

// parse reads one packet, as it is in a payload or a text frame.
func parse(b []byte) (p packet, ok bool) {
	if len(b) == 0 {
		return packet{}, false
	}
	if b[0] == inBase64 {
		return packet{message, session.Message{Binary: true, Data: decode(b[1:])}}, true
	}
	p = packet{kind: kind(b[0])}
	p.Data = b[1:]
	return p, open <= p.kind && p.kind <= noop && utf8.Valid(p.Data)
}

// travels reports whether m can go in a payload: text with a separator in it would
// come as two packets, and there is no escape.
func travels(m session.Message) bool {
	return m.Binary || bytes.IndexByte(m.Data, separator) < 0
}

// add appends a packet without data to a payload.
func add(payload []byte, k kind) []byte { return append(separate(payload), byte(k)) }

// addMessage appends a message that travels to a payload.
func addMessage(payload []byte, m session.Message) []byte {
	return appendMessage(separate(payload), m)
}

func separate(payload []byte) []byte {
	if len(payload) == 0 {
		return payload
	}
	return append(payload, separator)
}

// appendMessage appends the packet of m, as it is in a payload or a text frame.
func appendMessage(b []byte, m session.Message) []byte {
	if m.Binary {
		return base64.StdEncoding.AppendEncode(append(b, inBase64), m.Data)
	}
	return append(append(b, byte(message)), m.Data...)
}

// room is how many bytes m takes at most in a payload, its separator included.
func room(m session.Message) int {
	if m.Binary {
		return 2 + base64.StdEncoding.EncodedLen(len(m.Data))
	}
	return 2 + len(m.Data)
}

// decode reads base64 as leniently as clients' own libraries write and read it: both
// alphabets, with padding or without; what is in neither is skipped, and what
// follows padding left out. The result is in b's place.
func decode(b []byte) []byte {
	out, bits, n := b[:0], uint32(0), 0
	for _, c := range b {
		if c == '=' {
			break
		}
		v := sextets[c]
		if v == nothing {
			continue
		}
		bits, n = bits<<6|uint32(v), n+6
		if n >= 8 {
			n -= 8
			out = append(out, byte(bits>>n)) // never beyond what was read
		}
	}
	return out
}

// nothing is in sextets what no digit of base64 is.
const nothing = 0xff

var sextets = func() (table [256]byte) {
	for c := range table {
		table[c] = nothing
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		table[c] = byte(i)
	}
	table['-'], table['_'] = 62, 63
	return table
}()
