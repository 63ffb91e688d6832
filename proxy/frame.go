package proxy

import (
	"crypto/rand"
	"encoding/binary"
	"unicode/utf8"
)

// Opcodes of RFC 6455 §5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// Close codes of RFC 6455 §7.4.1 and the IANA registry that this program sends.
const (
	codeGoingAway  = 1001
	codeProtocol   = 1002
	codeNoStatus   = 1005 // never on the wire: a close frame without a code
	codeAbnormal   = 1006 // never on the wire: no close frame came
	codePolicy     = 1008
	codeTooBig     = 1009
	codeInternal   = 1011
	codeRestarting = 1012
)

const (
	maxHeader  = 14  // two bytes, eight of length, four of mask
	maxControl = 125 // payload of a control frame (RFC 6455 §5.5)
)

// headerSize is the size of the frame header that begins with h, or 2 while
// that cannot be known.
func headerSize(h []byte) int {
	if len(h) < 2 {
		return 2
	}
	n := 2
	switch h[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if h[1]&0x80 != 0 {
		n += 4
	}
	return n
}

// payloadSize reads the length out of a whole header. A length with its top bit
// set, which RFC 6455 §5.2 forbids, comes out negative.
func payloadSize(h []byte) int64 {
	switch n := h[1] & 0x7f; n {
	case 126:
		return int64(binary.BigEndian.Uint16(h[2:]))
	case 127:
		return int64(binary.BigEndian.Uint64(h[2:]))
	default:
		return int64(n)
	}
}

// appendPayload appends the unmasked payload of a whole control frame to b.
func appendPayload(b, frame []byte) []byte {
	n, from := headerSize(frame), len(b)
	b = append(b, frame[n:]...)
	if frame[1]&0x80 != 0 {
		for i := range b[from:] {
			b[from+i] ^= frame[n-4+i%4]
		}
	}
	return b
}

// controlFrame makes a whole control frame. Frames to a backend must be masked,
// with a key nobody can guess (RFC 6455 §5.3, §10.3).
func controlFrame(op byte, payload []byte, masked bool) []byte {
	f := make([]byte, 0, 2+4+len(payload))
	if !masked {
		f = append(f, 0x80|op, byte(len(payload)))
		return append(f, payload...)
	}
	var key [4]byte
	rand.Read(key[:]) // never fails (crypto/rand)
	f = append(f, 0x80|op, 0x80|byte(len(payload)))
	f = append(f, key[:]...)
	for i, b := range payload {
		f = append(f, b^key[i%4])
	}
	return f
}

// closeFrame makes a close frame. codeNoStatus makes one without a code; a
// reason too long for a control frame is cut between characters.
func closeFrame(code int, reason string, masked bool) []byte {
	if code == codeNoStatus {
		return controlFrame(opClose, nil, masked)
	}
	for len(reason) > maxControl-2 {
		_, n := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-n]
	}
	p := binary.BigEndian.AppendUint16(nil, uint16(code))
	return controlFrame(opClose, append(p, reason...), masked)
}

// parseClose reads a close frame's payload. ok is false for a payload of one
// byte and for codes that may not be sent (RFC 6455 §7.4; the IANA registry has
// reached 1014). Whether the reason is UTF-8 is left to the ends.
func parseClose(payload []byte) (code int, reason string, ok bool) {
	switch len(payload) {
	case 0:
		return codeNoStatus, "", true
	case 1:
		return 0, "", false
	}
	code = int(binary.BigEndian.Uint16(payload))
	return code, string(payload[2:]), maySend(code)
}

// maySend reports whether code may stand in a close frame.
func maySend(code int) bool {
	return code >= 1000 && code <= 1014 && code != 1004 && code != codeNoStatus && code != codeAbnormal ||
		code >= 3000 && code <= 4999
}
