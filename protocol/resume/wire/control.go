package wire

import "fmt"

// A Use asks for what goes to the client by another carrier (§6.3).
type Use struct {
	Turn       uint64 // which of the client's it is, from 1: older ones count no more
	Generation uint64 // of the carrier
}

// Append appends u as a frame.
func (u Use) Append(dst []byte) []byte {
	dst = appendHead(dst, TypeUse, sizeOf(u.Turn)+sizeOf(u.Generation))
	return appendNumber(appendNumber(dst, u.Turn), u.Generation)
}

// ParseUse reads a USE's body.
func ParseUse(body []byte) (u Use, err error) {
	c := cursor{rest: body}
	u = Use{c.number(), c.number()}
	if err := c.end(TypeUse); err != nil {
		return Use{}, err
	}
	if u.Turn == 0 || u.Generation == 0 {
		return Use{}, fmt.Errorf("%w: USE counts from 1", ErrBody)
	}
	return u, nil
}

// A Continue begins a request's body where the carrier has been welcomed (§5.5).
type Continue struct {
	Generation uint64 // of the carrier
	Session    string
	Token      string
}

// Append appends c as a frame. Session and Token must be as WELCOME had them.
func (c Continue) Append(dst []byte) []byte {
	n := sizeOf(c.Generation) + sizeOf(uint64(len(c.Session))) + len(c.Session) + sizeOf(uint64(len(c.Token))) + len(c.Token)
	dst = appendNumber(appendHead(dst, TypeContinue, n), c.Generation)
	dst = append(appendNumber(dst, uint64(len(c.Session))), c.Session...)
	return append(appendNumber(dst, uint64(len(c.Token))), c.Token...)
}

// ParseContinue reads a CONTINUE's body.
func ParseContinue(body []byte) (c Continue, err error) {
	r := cursor{rest: body}
	c = Continue{r.number(), r.text(maxID), r.text(maxToken)}
	if err := r.end(TypeContinue); err != nil {
		return Continue{}, err
	}
	if c.Generation == 0 || !isID(c.Session, 1, maxID) || !isID(c.Token, 1, maxToken) {
		return Continue{}, fmt.Errorf("%w: CONTINUE names no carrier", ErrBody)
	}
	return c, nil
}

// AppendPing appends a PING, whose mark of at most 8 bytes its PONG brings back.
func AppendPing(dst, mark []byte) []byte {
	return append(appendHead(dst, TypePing, len(mark)), mark...)
}

// AppendPong appends the answer to a PING of that mark.
func AppendPong(dst, mark []byte) []byte {
	return append(appendHead(dst, TypePong, len(mark)), mark...)
}

// AppendGoaway appends a GOAWAY: the server ends the carrier within so many
// milliseconds (§9).
func AppendGoaway(dst []byte, within uint64) []byte {
	return appendNumber(appendHead(dst, TypeGoaway, sizeOf(within)), within)
}

// ParseGoaway reads a GOAWAY's body.
func ParseGoaway(body []byte) (within uint64, err error) {
	c := cursor{rest: body}
	within = c.number()
	if err := c.end(TypeGoaway); err != nil {
		return 0, err
	}
	return within, nil
}

// AppendPad appends a PAD of n bytes in all, at least 2 and at most 4099. What a
// pad holds is of no interest; here it is blanks.
func AppendPad(dst []byte, n int) []byte {
	body := n - 2
	if body >= 0x80 {
		body = n - 3
	}
	dst = appendHead(dst, TypePad, body)
	for range body {
		dst = append(dst, ' ')
	}
	return dst
}
