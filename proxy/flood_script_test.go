package proxy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
)

// pool is where the payloads of scripts come from. Each frame takes another part
// of it, so that none can stand in for another.
var pool = sync.OnceValue(func() []byte {
	b := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
})

// A mix is which sizes a script prefers.
type mix int

const (
	small  mix = iota // up to 125 bytes, few longer
	medium            // 126 bytes to 64 KiB
	large             // up to 1 MiB
)

// A script is the frames that one end sends, without an end: who has its seed
// knows them all. There is no close among them.
type script struct {
	rng    *rand.Rand
	mix    mix
	masked bool
	open   bool // a fragmented message is unfinished
	spare  int  // how many more frames that a relay rations it may hold
	head   [maxHeader]byte
}

func newScript(seed, stream uint64, m mix, masked bool) *script {
	return &script{rng: rand.New(rand.NewPCG(seed, stream)), mix: m, masked: masked, spare: floodBurst / 2}
}

// next is the next frame. head is good until the call after it, and so for ever is body.
func (s *script) next() (head, body []byte) {
	n, first := s.size(), byte(0)
	switch fin := s.rng.IntN(8) != 0; {
	case s.spare > 0 && s.rng.IntN(64) == 0:
		s.spare--
		n, first = s.rng.IntN(maxControl+1), 0x80|opPing+byte(s.rng.IntN(2))
	default:
		if n == 0 && (s.open || !fin) {
			n = 1 // without a payload it would be rationed
		}
		if !s.open {
			first = opText + byte(s.rng.IntN(2))
		}
		if s.open = !fin; fin {
			first |= 0x80
		}
	}
	p := pool()
	at := s.rng.IntN(len(p) - n)
	return s.header(first, n), p[at : at+n]
}

func (s *script) size() int {
	r := s.rng
	switch kind := r.IntN(64); {
	case kind < 4:
		return 0
	case kind == 4:
		return []int{125, 126, 127, 1<<16 - 1, 1 << 16}[r.IntN(3+2*min(int(s.mix), 1))]
	case kind < 8:
		return 1 + r.IntN(125)
	case s.mix == small && kind == 8:
		return 126 + r.IntN(1500)
	case s.mix == medium:
		return 126 + r.IntN(1<<(7+r.IntN(10))-126)
	case s.mix == large:
		return 1 + r.IntN(1<<(14+r.IntN(7)))
	}
	return 1 + r.IntN(40)
}

func (s *script) header(first byte, n int) []byte {
	h := append(s.head[:0], first)
	var mask byte
	if s.masked {
		mask = 0x80
	}
	switch {
	case n < 126:
		h = append(h, mask|byte(n))
	case n < 1<<16:
		h = binary.BigEndian.AppendUint16(append(h, mask|126), uint16(n))
	default:
		h = binary.BigEndian.AppendUint64(append(h, mask|127), uint64(n))
	}
	if s.masked {
		h = binary.BigEndian.AppendUint32(h, s.rng.Uint32())
	}
	return h
}

// A checker compares what an end receives with the other's script, byte by byte
// as it arrives. All that may come besides is one close frame, in place of a
// frame, and nothing behind it.
type checker struct {
	script     *script
	head, body []byte // what is still to come of the frame under way
	within     bool   // some of it came
	frames     int    // that came whole
	bytes      int64
	close      []byte // a close frame, or its beginning
}

func (c *checker) feed(b []byte) error {
	for len(b) > 0 {
		if len(c.head)+len(c.body) == 0 {
			c.head, c.body = c.script.next()
		}
		if len(c.close) > 0 || !c.within && b[0] == 0x80|opClose {
			return c.closing(b)
		}
		part := &c.head
		if len(*part) == 0 {
			part = &c.body
		}
		n := min(len(*part), len(b))
		if !bytes.Equal((*part)[:n], b[:n]) {
			return fmt.Errorf("frame %d, near byte %d: what came is not what was sent", c.frames, c.bytes)
		}
		*part, b = (*part)[n:], b[n:]
		c.bytes += int64(n)
		if c.within = len(c.head)+len(c.body) > 0; !c.within {
			c.frames++
		}
	}
	return nil
}

func (c *checker) closing(b []byte) error {
	c.close = append(c.close, b...)
	if len(c.close) < 2 {
		return nil
	}
	masked, size := c.close[1]&0x80 != 0, c.close[1]&0x7f
	if masked != c.script.masked || size > maxControl || len(c.close) > frameSize(c.close) {
		return fmt.Errorf("after frame %d: no close frame, or more behind it: %.20x", c.frames, c.close)
	}
	return nil
}

// code is that of the close frame, 0 if none came whole, -1 if it is a bad one.
func (c *checker) code() int {
	if len(c.close) < 2 || len(c.close) < frameSize(c.close) {
		return 0
	}
	code, _, ok := parseClose(controlPayload(c.close))
	if !ok {
		return -1
	}
	return code
}

// reasonOf is the text of a whole close frame.
func reasonOf(frame []byte) string {
	_, reason, _ := parseClose(controlPayload(frame))
	return string(reason)
}
