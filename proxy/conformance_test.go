package proxy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// The conformance cases of RFC 6455, restated for a relay: what is right passes
// byte for byte, what is wrong earns its sender the code and the other end a
// clean close. UTF-8 and the contents of messages are the ends' own affair.

// Frames that must arrive at the other end as they were sent.
var passing = []struct {
	name       string
	extensions string
	frames     func(frame func(first byte, payload string) []byte) []byte
}{
	{"text", "", one(0x81, "Hello")},
	{"empty text", "", one(0x81, "")},
	{"empty binary", "", one(0x82, "")},
	{"125 bytes", "", one(0x82, strings.Repeat("x", 125))},
	{"126 bytes", "", one(0x82, strings.Repeat("x", 126))},
	{"127 bytes", "", one(0x82, strings.Repeat("x", 127))},
	{"65535 bytes", "", one(0x82, strings.Repeat("x", 65535))},
	{"65536 bytes", "", one(0x82, strings.Repeat("x", 65536))},
	{"65537 bytes", "", one(0x82, strings.Repeat("x", 65537))},
	{"invalid UTF-8 in text", "", one(0x81, "\xce\xba\xff")},
	{"UTF-8 cut between fragments", "", join(one(0x01, "\xce"), one(0x80, "\xba"))},
	{"two fragments", "", join(one(0x01, "Hel"), one(0x80, "lo"))},
	{"many fragments", "", join(one(0x02, "a"), repeat(500, one(0x00, "b")), one(0x80, "c"))},
	{"empty fragments around", "", join(one(0x01, ""), one(0x00, "x"), one(0x80, ""))},
	{"ping between fragments", "", join(one(0x01, "Hel"), one(0x89, "p"), one(0x80, "lo"))},
	{"empty ping", "", one(0x89, "")},
	{"ping of 125 bytes", "", one(0x89, strings.Repeat("p", 125))},
	{"binary ping", "", one(0x89, "\x00\xff\xfe")},
	{"unsolicited pong", "", one(0x8a, "anything")},
	{"empty pong", "", one(0x8a, "")},
	{"ten pings", "", repeat(10, one(0x89, "again"))},
	{"a thousand messages at once", "", repeat(1000, one(0x81, "sixteen bytes..."))},
	{"compressed", "permessage-deflate", one(0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00")},
	{"compressed, fragmented", "permessage-deflate", join(one(0x41, "\xf2\x48\xcd"), one(0x80, "\xc9\xc9\x07\x00"))},
	{"uncompressed although agreed", "permessage-deflate", one(0x81, "Hello")},
	{"reserved bits of an unknown extension", "x-frames", one(0xf3, "who knows")},
}

func one(first byte, payload string) func(func(byte, string) []byte) []byte {
	return func(frame func(byte, string) []byte) []byte { return frame(first, payload) }
}

func join(parts ...func(func(byte, string) []byte) []byte) func(func(byte, string) []byte) []byte {
	return func(frame func(byte, string) []byte) []byte {
		var b []byte
		for _, p := range parts {
			b = append(b, p(frame)...)
		}
		return b
	}
}

func repeat(n int, part func(func(byte, string) []byte) []byte) func(func(byte, string) []byte) []byte {
	return func(frame func(byte, string) []byte) []byte { return bytes.Repeat(part(frame), n) }
}

// both runs a test with each end as the sender.
func both(t *testing.T, s setup, run func(t *testing.T, from, to *peer)) {
	for _, up := range []bool{true, false} {
		t.Run(map[bool]string{true: "up", false: "down"}[up], func(t *testing.T) {
			t.Parallel()
			w := connect(t, s)
			if up {
				run(t, w.client, w.backend)
			} else {
				run(t, w.backend, w.client)
			}
		})
	}
}

func TestFramesPassAsTheyAre(t *testing.T) {
	for _, c := range passing {
		t.Run(c.name, func(t *testing.T) {
			both(t, setup{extensions: c.extensions}, func(t *testing.T, from, to *peer) {
				b := c.frames(from.frame)
				go from.send(b)
				to.wantBytes(b)
			})
		})
	}
}

// Whatever the kernel makes of the bytes on the way, nothing changes.
func TestFramesPassByteByByte(t *testing.T) {
	both(t, setup{}, func(t *testing.T, from, to *peer) {
		var all []byte
		for _, c := range passing[:20] {
			if b := c.frames(from.frame); len(b) < 2000 {
				all = append(all, b...)
			}
		}
		go func() {
			for i := range all {
				from.send(all[i : i+1])
			}
		}()
		to.wantBytes(all)
	})
}

// wantBytes reads just these bytes.
func (p *peer) wantBytes(want []byte) {
	p.t.Helper()
	got := make([]byte, len(want))
	for n := 0; n < len(got); {
		k, err := p.r.Read(got[n:])
		if n += k; err != nil {
			p.t.Fatalf("after %d of %d bytes: %v", n, len(want), err)
		}
	}
	if !bytes.Equal(got, want) {
		p.t.Fatalf("%d bytes arrived changed", len(want))
	}
}

// Frames that break the rules, what their sender is told, and the limit it takes.
var failing = []struct {
	name       string
	code       int
	extensions string
	frames     func(frame func(first byte, payload string) []byte) []byte
}{
	{"RSV1 without an extension", 1002, "", one(0xc1, "x")},
	{"RSV2", 1002, "permessage-deflate", one(0xa1, "x")},
	{"RSV3", 1002, "permessage-deflate", one(0x91, "x")},
	{"RSV1 on a ping", 1002, "permessage-deflate", one(0xc9, "x")},
	{"RSV1 on a continuation", 1002, "permessage-deflate", join(one(0x41, "x"), one(0xc0, "y"))},
	{"opcode 3", 1002, "", one(0x83, "x")},
	{"opcode 7", 1002, "", one(0x87, "x")},
	{"opcode 11", 1002, "", one(0x8b, "x")},
	{"opcode 15", 1002, "", one(0x8f, "x")},
	{"ping of 126 bytes", 1002, "", one(0x89, strings.Repeat("x", 126))},
	{"ping in fragments", 1002, "", one(0x09, "x")},
	{"close in fragments", 1002, "", one(0x08, "\x03\xe8")},
	{"continuation of nothing", 1002, "", one(0x80, "x")},
	{"continuation after the end", 1002, "", join(one(0x81, "x"), one(0x00, "y"))},
	{"message inside a message", 1002, "", join(one(0x01, "x"), one(0x81, "y"))},
	{"close of one byte", 1002, "", one(0x88, "\x03")},
	{"close 999", 1002, "", one(0x88, "\x03\xe7")},
	{"close 1004", 1002, "", one(0x88, "\x03\xec")},
	{"close 1005", 1002, "", one(0x88, "\x03\xed")},
	{"close 1006", 1002, "", one(0x88, "\x03\xee")},
	{"close 1015", 1002, "", one(0x88, "\x03\xf7")},
	{"close 2999", 1002, "", one(0x88, "\x0b\xb7")},
	{"close 5000", 1002, "", one(0x88, "\x13\x88")},
	{"message too big", 1009, "", one(0x82, strings.Repeat("x", 4097))},
	{"message too big over fragments", 1009, "", join(one(0x02, strings.Repeat("x", 4096)), one(0x80, "x"))},
	{"a flood of pings", 1008, "", repeat(floodBurst+50, one(0x89, ""))},
	{"a flood of pongs", 1008, "", repeat(floodBurst+50, one(0x8a, ""))},
	{"a flood of empty fragments", 1008, "", join(one(0x01, ""), repeat(floodBurst+50, one(0x00, "")))},
}

func TestFaultyFramesEndTheConnection(t *testing.T) {
	for _, c := range failing {
		t.Run(c.name, func(t *testing.T) {
			both(t, setup{limits: Limits{Message: 4096}, extensions: c.extensions}, func(t *testing.T, from, to *peer) {
				before := from.frame(0x81, "good until here")
				go from.conn.Write(append(before, c.frames(from.frame)...))
				to.wantBytes(before)
				from.wantClose(c.code)
				to.wantClose(otherCode(to))
				from.wantEnd()
				to.wantEnd()
			})
		})
	}
}

// otherCode is what an end hears when the opposite one broke the rules.
func otherCode(p *peer) int {
	if p.masked {
		return codeInternal
	}
	return codeGoingAway
}

// Headers that frames made by rawFrame cannot have.
func TestFaultyLengthsAndMasks(t *testing.T) {
	for _, c := range []struct {
		name     string
		up, down string // the header alone: that must be enough
		code     int
	}{
		{"126 for 125 bytes", "\x81\xfe\x00\x7d1234", "\x81\x7e\x00\x7d", 1002},
		{"127 for 65535 bytes", "\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff1234", "\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff", 1002},
		{"2^63 bytes", "\x81\xff\x80\x00\x00\x00\x00\x00\x00\x001234", "\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", 1002},
		{"2^40 bytes", "\x82\xff\x00\x00\x01\x00\x00\x00\x00\x001234", "\x82\x7f\x00\x00\x01\x00\x00\x00\x00\x00", 1009},
		{"2^63-1 bytes", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff1234", "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 1009},
		{"the wrong mask", "\x81\x01x", "\x81\x81abcdx", 1002},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, setup{}, func(t *testing.T, from, to *peer) {
				b := c.down
				if from.masked {
					b = c.up
				}
				from.send([]byte(b))
				from.wantClose(c.code)
				to.wantClose(otherCode(to))
			})
		})
	}
}

// A million one-byte fragments are one message for their receiver to put
// together; it gets no further than limits allow.
func TestTinyFragmentsAreBounded(t *testing.T) {
	both(t, setup{}, func(t *testing.T, from, to *peer) {
		go func() {
			b := bytes.Repeat(from.frame(0x00, "x"), 1000)
			from.conn.Write(from.frame(0x01, "x"))
			for range 1000 {
				if _, err := from.conn.Write(b); err != nil {
					return
				}
			}
		}()
		count := 0
		for {
			g, err := to.next()
			if err != nil {
				t.Fatalf("after %d fragments: %v", count, err)
			}
			if g.first == 0x88 {
				break
			}
			count++
		}
		if limit := freeFragments + freeFragments/32; count < freeFragments || count > limit {
			t.Errorf("%d fragments passed; want at least %d and at most %d", count, freeFragments, limit)
		}
		from.wantClose(codePolicy)
	})
}

// Every way to close, by either end.
func TestClosesPassBothWays(t *testing.T) {
	for _, c := range []struct{ name, payload, answer, log string }{
		{"no code", "", "", `"code":1005,"reason":""`},
		{"1000", "\x03\xe8", "\x03\xe8", `"code":1000,"reason":""`},
		{"1001 with reason", "\x03\xe9bye", "\x03\xe9", `"code":1001,"reason":"bye"`},
		{"1012", "\x03\xf4", "\x03\xf4", `"code":1012`},
		{"3000", "\x0b\xb8", "\x0b\xb8", `"code":3000`},
		{"4999 with the longest reason", "\x13\x87" + strings.Repeat("r", 123), "\x13\x87", `"code":4999,"reason":"rrr`},
		{"answered by another code", "\x03\xe8", "\x0f\xa1other", `"code":1000`},
		{"reason that is not UTF-8", "\x03\xe8\xff\xfe\r\n\x1b", "\x03\xe8", `"code":1000`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, up := range []bool{true, false} {
				t.Run(fmt.Sprint(up), func(t *testing.T) {
					t.Parallel()
					w := connect(t, setup{})
					from, to, cause := w.client, w.backend, "client_close"
					if !up {
						from, to, cause = to, from, "backend_close"
					}
					from.send(from.frame(0x88, c.payload))
					to.want(0x88, c.payload)
					to.send(to.frame(0x88, c.answer))
					from.want(0x88, c.answer)
					from.wantEnd()
					to.wantEnd()
					line := w.ended(t)
					if !strings.Contains(line, `"cause":"`+cause+`"`) || !strings.Contains(line, c.log) || strings.Count(line, "\n") != 1 {
						t.Errorf("log = %q; want one line with %s, %s", line, cause, c.log)
					}
				})
			}
		})
	}
}

// What follows a close frame is nobody's: it is dropped.
func TestNothingPassesAfterAClose(t *testing.T) {
	both(t, setup{}, func(t *testing.T, from, to *peer) {
		from.send(append(from.frame(0x88, "\x03\xe8"), from.frame(0x81, "late")...))
		to.want(0x88, "\x03\xe8")
		to.send(to.frame(0x88, "\x03\xe8"))
		if g, err := to.next(); err == nil {
			t.Errorf("frame %#x %q passed after the close", g.first, g.payload)
		}
		from.want(0x88, "\x03\xe8")
	})
}

// An end that does not answer a close is not waited for in vain, and nobody
// answers in its name.
func TestUnansweredCloseEnds(t *testing.T) {
	both(t, setup{limits: Limits{WriteTimeout: 300 * time.Millisecond}}, func(t *testing.T, from, to *peer) {
		from.send(from.frame(0x88, "\x03\xe8"))
		to.want(0x88, "\x03\xe8")
		from.wantClose(otherCode(from))
		from.wantEnd()
		to.wantEnd()
	})
}
