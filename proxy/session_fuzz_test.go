package proxy

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
	"unicode/utf8"

	"sidecar/session"
)

// A tape is a connection on which so many bytes come, in pieces, and then the end.
type tape struct {
	net.Conn
	b     []byte
	piece int
}

func (c *tape) Read(b []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(c.piece, len(b))], c.b)
	c.b = c.b[n:]
	return n, nil
}

func (c *tape) Write(b []byte) (int, error)      { return len(b), nil }
func (c *tape) Close() error                     { return nil }
func (c *tape) SetDeadline(time.Time) error      { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }

// A heap is an owner that keeps what it is given.
type heap struct {
	all   []session.Message
	bytes int
	ends  int
}

func (o *heap) receive(m session.Message) (bool, *fault) {
	o.all = append(o.all, session.Message{Binary: m.Binary, Data: bytes.Clone(m.Data)})
	o.bytes += len(m.Data)
	return true, nil
}
func (o *heap) pour() (bool, error) { return false, nil }
func (o *heap) ended(session.Close) { o.ends++ }

// Whatever comes, in whatever pieces, the walker finds what is wrong with it before
// gorilla does, what passes are whole messages, and the end is told once.
func FuzzHop(f *testing.F) {
	f.Add(rawFrame(0x80|opText, "hello", false), uint8(1))
	f.Add(append(rawFrame(opText, "he", false), append(rawFrame(0x80|opPing, "x", false), rawFrame(0x80, "llo", false)...)...), uint8(3))
	f.Add(append(rawFrame(0x80|opBinary, "\xff", false), rawFrame(0x80|opClose, "\x03\xe8", false)...), uint8(200))
	f.Add([]byte{0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0, 1}, uint8(7))
	f.Add([]byte{0x81, 0x7e, 0xff}, uint8(1))
	f.Add([]byte{0x88, 2, 3, 0xee}, uint8(9))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		h, o := &hop{}, &heap{}
		h.init(&tape{b: b, piece: int(piece) + 1}, newTerms(backend, beatingPolicy, Limits{Message: 1 << 16}, nil))
		if err := h.adopt(); err != nil {
			t.Fatal(err)
		}
		h.owner, h.live, h.running = o, &Live{relays: make([]relayed, 1)}, 1
		var err error
		for err == nil {
			err = h.next()
		}
		if h.over == nil && err != errText {
			t.Errorf("gorilla found %v, which the walker let pass", err)
		}
		h.finish(err)
		if o.ends != 1 || o.bytes > len(b) {
			t.Errorf("%d ends, %d bytes in messages of %d sent", o.ends, o.bytes, len(b))
		}
		for _, m := range o.all {
			if !m.Binary && !utf8.Valid(m.Data) {
				t.Errorf("passed %q as text", m.Data)
			}
		}
		h.mu.Lock()
		h.dead = true
		h.timer.Stop()
		h.mu.Unlock()
	})
}
