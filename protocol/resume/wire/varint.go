package wire

import "fmt"

// appendNumber appends n as a varint: seven bits a byte, the lowest first, and the
// high bit says that more follow (§4.1).
func appendNumber(dst []byte, n uint64) []byte {
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

// sizeOf is how many bytes appendNumber appends.
func sizeOf(n uint64) (size int) {
	for size = 1; n >= 0x80; size++ {
		n >>= 7
	}
	return size
}

// number reads a varint from the head of p, and says how many bytes it took. A
// number has one form only: so whoever compares bytes compares numbers.
func number(p []byte) (n uint64, size int, err error) {
	for i, b := range p {
		n |= uint64(b&0x7f) << (7 * i)
		switch {
		case b == 0 && i > 0:
			return 0, 0, fmt.Errorf("%w: not its shortest form", ErrNumber)
		case b < 0x80 && n > MaxNumber, b >= 0x80 && i == maxVar-1:
			return 0, 0, fmt.Errorf("%w: beyond 2^53 - 1", ErrNumber)
		case b < 0x80:
			return n, i + 1, nil
		}
	}
	return 0, 0, ErrCut
}

// A cursor reads a body from front to back, and remembers the first fault.
type cursor struct {
	rest []byte
	bad  error
}

func (c *cursor) number() uint64 {
	n, size, err := number(c.rest)
	if err != nil {
		c.fail(err)
		return 0
	}
	c.rest = c.rest[size:]
	return n
}

// bytes are the next n; nil where there are not so many.
func (c *cursor) bytes(n int) []byte {
	if len(c.rest) < n {
		c.fail(ErrCut)
		return nil
	}
	p := c.rest[:n]
	c.rest = c.rest[n:]
	return p
}

// text is a string with its length before it.
func (c *cursor) text(most int) string {
	n := c.number()
	if n > uint64(most) {
		c.fail(fmt.Errorf("a text of %d bytes", n))
	}
	if c.bad != nil {
		return ""
	}
	return string(c.bytes(int(n)))
}

func (c *cursor) fail(err error) {
	if c.bad == nil {
		c.bad = err
	}
	c.rest = nil
}

// end is the fault of a body that should be over.
func (c *cursor) end(t Type) error {
	switch {
	case c.bad == ErrCut:
		return fmt.Errorf("%w: %v ends early", ErrBody, t)
	case c.bad != nil:
		return fmt.Errorf("%w: %v: %w", ErrBody, t, c.bad)
	case len(c.rest) > 0:
		return fmt.Errorf("%w: %v has %d bytes too many", ErrBody, t, len(c.rest))
	}
	return nil
}
