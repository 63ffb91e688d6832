package load

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestFramesComeBackAsTheyWent(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 125, 126, 65535, 65536, most} {
		payload := bytes.Repeat([]byte("0123456789abc"), n/13+1)[:n]
		for _, key := range []*[4]byte{nil, {1, 2, 3, 4}} {
			b := append(appendFrame(nil, opBinary, payload, key), "next"...)
			if key != nil && n > 8 && bytes.Contains(b, payload) {
				t.Errorf("%d bytes: the payload is not masked", n)
			}
			f, rest, err := cut(b, key != nil)
			if err != nil || f.op != opBinary || !bytes.Equal(f.payload, payload) || string(rest) != "next" {
				t.Errorf("%d bytes, key %v: op %d, %d bytes, rest %q, %v; want what was sent", n, key, f.op, len(f.payload), rest, err)
			}
		}
	}
}

// The example of RFC 6455 section 5.7.
func TestMaskedHello(t *testing.T) {
	b := []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}
	if f, _, err := cut(b, true); err != nil || string(f.payload) != "Hello" {
		t.Errorf("got %q, %v; want Hello", f.payload, err)
	}
}

func TestFramesInParts(t *testing.T) {
	for _, n := range []int{3, 200, 70000} {
		whole := appendFrame(nil, opBinary, make([]byte, n), &[4]byte{9, 8, 7, 6})
		for _, have := range []int{0, 1, 2, 3, 5, 9, 13, len(whole) - 1} {
			b := bytes.Clone(whole[:min(have, len(whole)-1)])
			if _, rest, err := cut(b, true); !errors.Is(err, errShort) || !bytes.Equal(rest, whole[:len(b)]) {
				t.Errorf("%d of %d bytes: %v, with %d bytes left as they were; want errShort", have, len(whole), err, len(rest))
			}
		}
	}
}

func TestFramesThatNobodySent(t *testing.T) {
	for name, b := range map[string]string{
		"a fragment":         "\x02\x01x",
		"a reserved bit":     "\xc2\x01x",
		"masked by a server": "\x82\x81abcdx",
		"too long":           "\x82\x7f\x00\x00\x00\x00\x00\x10\x00\x01",
	} {
		if _, _, err := cut([]byte(b), false); err == nil || errors.Is(err, errShort) {
			t.Errorf("%s: %v; want an error", name, err)
		}
	}
	if _, _, err := cut([]byte("\x82\x01x"), true); err == nil || errors.Is(err, errShort) {
		t.Errorf("not masked by a client: %v; want an error", err)
	}
}

func FuzzCut(f *testing.F) {
	f.Add([]byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}, true)
	f.Add([]byte("\x82\x7e\x01\x00"+strings.Repeat("x", 256)), false)
	f.Add([]byte("\x82\x7f\x00\x00\x00\x00\x00\x10\x00\x01"), false)
	f.Fuzz(func(t *testing.T, b []byte, masked bool) {
		before := bytes.Clone(b)
		fr, rest, err := cut(b, masked)
		if err != nil {
			if !bytes.Equal(b, before) {
				t.Errorf("%q was changed to %q although it was not cut", before, b)
			}
			return
		}
		if got := fr.head + len(fr.payload) + len(rest); got != len(before) {
			t.Errorf("%d bytes were cut into %d", len(before), got)
		}
		if masked {
			mask(fr.payload, [4]byte(before[fr.head-4:]))
		}
		if !bytes.Equal(b, before) {
			t.Errorf("%q became %q beyond the mask", before, b)
		}
	})
}
