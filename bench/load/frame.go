package load

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// most is the largest payload of a frame that either end takes.
const most = 1 << 20

// The opcodes of RFC 6455 section 5.2 that are used here.
const (
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xA
)

// errShort says that a frame has not come whole yet.
var errShort = errors.New("the frame is not whole")

// A frame is one that came: whole, and its payload unmasked in place.
type frame struct {
	op      byte
	payload []byte
	head    int // the bytes before the payload
}

// cut takes the first frame off b, unmasked in place, and returns what follows.
// It fails with errShort while the frame is not whole. The ends here send whole
// messages in single frames and agree on no extension, so that a fragment or a
// reserved bit is the work of the proxy between them, and an error.
func cut(b []byte, masked bool) (frame, []byte, error) {
	if len(b) < 2 {
		return frame{}, b, errShort
	}
	f := frame{op: b[0] & 0x0f, head: 2}
	if b[0]&0xf0 != 0x80 || (b[1]&0x80 != 0) != masked {
		return frame{}, b, fmt.Errorf("reading a frame: bytes %#x begin none that was sent", b[:2])
	}
	n := uint64(b[1] & 0x7f)
	switch {
	case n == 126 && len(b) >= 4:
		n, f.head = uint64(binary.BigEndian.Uint16(b[2:])), 4
	case n == 127 && len(b) >= 10:
		n, f.head = binary.BigEndian.Uint64(b[2:]), 10
	case n >= 126:
		return frame{}, b, errShort
	}
	if n > most {
		return frame{}, b, fmt.Errorf("reading a frame: %d bytes are more than anybody sent", n)
	}
	if masked {
		f.head += 4
	}
	end := f.head + int(n)
	if len(b) < end {
		return frame{}, b, errShort
	}
	f.payload = b[f.head:end:end]
	if masked {
		mask(f.payload, [4]byte(b[f.head-4:]))
	}
	return f, b[end:], nil
}

// appendHead adds the head of a whole frame that is not masked.
func appendHead(b []byte, op byte, n int) []byte {
	b = append(b, 0x80|op)
	switch {
	case n < 126:
		return append(b, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
}

// appendFrame adds a whole frame to b; masked when key is not nil.
func appendFrame(b []byte, op byte, payload []byte, key *[4]byte) []byte {
	start := len(b)
	b = appendHead(b, op, len(payload))
	if key == nil {
		return append(b, payload...)
	}
	b[start+1] |= 0x80
	b = append(append(b, key[:]...), payload...)
	mask(b[len(b)-len(payload):], *key)
	return b
}

// mask masks b, or unmasks it: both are the same (RFC 6455 section 5.3).
func mask(b []byte, key [4]byte) {
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	k |= k << 32
	i := 0
	for ; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], binary.LittleEndian.Uint64(b[i:])^k)
	}
	for ; i < len(b); i++ {
		b[i] ^= key[i&3]
	}
}
