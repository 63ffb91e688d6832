package wire

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Data is a message, or a piece of one (§4.3).
type Data struct {
	Binary  bool
	More    bool   // this is not the message's last piece
	Number  uint64 // of the message, from 1
	Offset  uint64 // of Payload in it
	Payload []byte // lent, where it was parsed
}

// The flags of a DATA; the others are zero.
const (
	flagBinary = 1 << iota
	flagMore
)

// Append appends d as a frame. The payload must have at most MaxPayload bytes.
func (d Data) Append(dst []byte) []byte {
	dst = appendHead(dst, TypeData, 1+sizeOf(d.Number)+sizeOf(d.Offset)+len(d.Payload))
	flags := byte(0)
	if d.Binary {
		flags |= flagBinary
	}
	if d.More {
		flags |= flagMore
	}
	dst = appendNumber(append(dst, flags), d.Number)
	return append(appendNumber(dst, d.Offset), d.Payload...)
}

// ParseData reads a DATA's body.
func ParseData(body []byte) (d Data, err error) {
	c := cursor{rest: body}
	flags := byte(0)
	if p := c.bytes(1); p != nil {
		flags = p[0]
	}
	d = Data{Binary: flags&flagBinary != 0, More: flags&flagMore != 0, Number: c.number(), Offset: c.number()}
	d.Payload, c.rest = c.rest, nil
	if err := c.end(TypeData); err != nil {
		return Data{}, err
	}
	if why := d.fault(flags); why != "" {
		return Data{}, fmt.Errorf("%w: DATA %s", ErrBody, why)
	}
	return d, nil
}

func (d Data) fault(flags byte) string {
	n := uint64(len(d.Payload))
	switch {
	case flags > flagBinary|flagMore:
		return "with unknown flags"
	case d.Number == 0:
		return "without a number"
	case n > MaxPayload:
		return "with too much payload"
	case d.Offset > MaxNumber-n:
		return "beyond all offsets"
	case d.More && n < MinFragment:
		return "cut too small" // or a message has millions of pieces
	case n == 0 && d.Offset > 0:
		return "adds nothing"
	}
	return ""
}

// An Ack says what its sender has of the other's messages (§7.4).
type Ack struct {
	Received uint64 // all up to this number: what was handed on, and is forgotten now
	Ahead    uint64 // so many whole messages behind it were taken, but not handed on yet
	Partial  uint64 // and so many bytes of the one behind those
}

// Next is the number of the message that Partial is of: what is awaited.
func (a Ack) Next() uint64 { return a.Received + a.Ahead + 1 }

// Append appends a as a frame.
func (a Ack) Append(dst []byte) []byte {
	dst = appendHead(dst, TypeAck, sizeOf(a.Received)+sizeOf(a.Ahead)+sizeOf(a.Partial))
	return appendNumber(appendNumber(appendNumber(dst, a.Received), a.Ahead), a.Partial)
}

// ParseAck reads an ACK's body.
func ParseAck(body []byte) (a Ack, err error) {
	c := cursor{rest: body}
	a = Ack{c.number(), c.number(), c.number()}
	if err := c.end(TypeAck); err != nil {
		return Ack{}, err
	}
	if !a.valid() {
		return Ack{}, fmt.Errorf("%w: ACK beyond all numbers", ErrBody)
	}
	return a, nil
}

// valid reports whether what is awaited still has a number.
func (a Ack) valid() bool { return a.Received < MaxNumber && a.Ahead < MaxNumber-a.Received }

// A Close is the end of one direction, with the number behind its last message (§8).
type Close struct {
	Number uint64
	Code   int    // 1000 to 4999; 1005: none was given
	Reason string // at most MaxReason bytes of UTF-8; none with 1005 and 1006
}

// Append appends c as a frame.
func (c Close) Append(dst []byte) []byte {
	dst = appendHead(dst, TypeClose, sizeOf(c.Number)+2+len(c.Reason))
	dst = binary.BigEndian.AppendUint16(appendNumber(dst, c.Number), uint16(c.Code))
	return append(dst, c.Reason...)
}

// ParseClose reads a CLOSE's body.
func ParseClose(body []byte) (Close, error) {
	r := cursor{rest: body}
	c := Close{Number: r.number()}
	if p := r.bytes(2); p != nil {
		c.Code = int(binary.BigEndian.Uint16(p))
	}
	c.Reason, r.rest = string(r.rest), nil
	if err := r.end(TypeClose); err != nil {
		return Close{}, err
	}
	if why := c.fault(); why != "" {
		return Close{}, fmt.Errorf("%w: CLOSE %s", ErrBody, why)
	}
	return c, nil
}

func (c Close) fault() string {
	switch {
	case c.Number == 0:
		return "without a number"
	case c.Code < 1000 || c.Code > 4999:
		return fmt.Sprintf("with the code %d", c.Code)
	case len(c.Reason) > MaxReason || !utf8.ValidString(c.Reason):
		return fmt.Sprintf("with the reason %q", c.Reason)
	case c.Reason != "" && (c.Code == 1005 || c.Code == 1006):
		return "with a reason that no frame can have had"
	}
	return ""
}
