package engineio

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sidecar/session"
)

// packets cuts a whole payload, up to what is no packet.
func packets(payload string) (list []string, ok bool) {
	b := []byte(payload)
	for more := true; more; {
		var p packet
		if p, b, more, ok = cut(b); !ok {
			return list, false
		}
		list = append(list, fmt.Sprintf("%c %v %q", p.kind, p.Binary, p.Data))
	}
	return list, true
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		payload string
		want    []string
		ok      bool
	}{
		{"4hello", []string{`4 false "hello"`}, true},
		{"4", []string{`4 false ""`}, true},
		{"4hello\x1e2\x1e4", []string{`4 false "hello"`, `2 false ""`, `4 false ""`}, true},
		{"bAQID\x1e4grüße", []string{`4 true "\x01\x02\x03"`, `4 false "grüße"`}, true},
		{"b", []string{`4 true ""`}, true},
		{"3probe", []string{`3 false "probe"`}, true},
		{"", nil, false},
		{"4a\x1e", []string{`4 false "a"`}, false},
		{"\x1e4a", nil, false},
		{"4a\x1e\x1e4b", []string{`4 false "a"`}, false},
		{"7", nil, false},
		{"/", nil, false},
		{"abc", nil, false},
		{"4\xff", nil, false},
		{"4a\x1e9\x1e4b", []string{`4 false "a"`}, false},
	} {
		got, ok := packets(c.payload)
		if !slices.Equal(got, c.want) || ok != c.ok {
			t.Errorf("packets of %q are %q, %v; want %q, %v", c.payload, got, ok, c.want, c.ok)
		}
	}
}

func TestDecodeIsLenient(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"AQIDBA==", "\x01\x02\x03\x04"},
		{"AQIDBA", "\x01\x02\x03\x04"},
		{"AQIDBA=", "\x01\x02\x03\x04"},
		{"-_8=", "\xfb\xff"},
		{"+/8", "\xfb\xff"},
		{"AQ ID\r\nBA==", "\x01\x02\x03\x04"},
		{"AQ*ID\x00BA", "\x01\x02\x03\x04"},
		{"AQ==IDBA", "\x01"},
		{"A", ""},
		{"", ""},
		{"====", ""},
	} {
		if got := string(decode([]byte(c.in))); got != c.want {
			t.Errorf("decode(%q) = %q; want %q", c.in, got, c.want)
		}
	}
}

func TestPayload(t *testing.T) {
	var b []byte
	b = add(b, ping)
	b = addMessage(b, session.Message{Data: []byte("hello")})
	b = addMessage(b, session.Message{Binary: true, Data: []byte{1, 2, 3, 4}})
	b = addMessage(b, session.Message{})
	b = add(b, closing)
	if want := "2\x1e4hello\x1ebAQIDBA==\x1e4\x1e1"; string(b) != want {
		t.Errorf("payload is %q; want %q", b, want)
	}
}

func TestTravels(t *testing.T) {
	for _, c := range []struct {
		m    session.Message
		want bool
	}{
		{session.Message{Data: []byte("hello")}, true},
		{session.Message{Data: []byte("a\x1eb")}, false},
		{session.Message{Binary: true, Data: []byte("a\x1eb")}, true},
	} {
		if got := travels(c.m); got != c.want {
			t.Errorf("travels(%q, binary %v) = %v; want %v", c.m.Data, c.m.Binary, got, c.want)
		}
	}
}

func TestQuery(t *testing.T) {
	for _, c := range []struct {
		raw  string
		want query
		app  string
	}{
		{"EIO=4&transport=polling&t=abc", query{revision: "4", transport: "polling"}, ""},
		{"room=1&EIO=4&transport=websocket&sid=x&b64=1&a=%26&j=0", query{revision: "4", transport: "websocket", sid: "x", asked: true, base64: true}, "room=1&a=%26"},
		{"%45IO=%34&s%69d=%78", query{revision: "4", sid: "x", asked: true}, ""},
		{"EIO=4&EIO=4&transport=polling&transport=polling", query{revision: twice, transport: twice}, ""},
		{"EIO=&EIO=4", query{revision: twice}, ""},
		{"EIO=&sid=", query{revision: empty, asked: true}, ""},
		{"sid=a&sid=a", query{sid: twice, asked: true}, ""},
		{"sid=%zz&x=%zz", query{sid: "%zz", asked: true}, "x=%zz"},
		{"&&flag&x=1&", query{}, "flag&x=1"},
		{"", query{}, ""},
	} {
		if got := parseQuery(c.raw); got != c.want {
			t.Errorf("parseQuery(%q) = %+v; want %+v", c.raw, got, c.want)
		}
		if got := appsOwn(c.raw); got != c.app {
			t.Errorf("appsOwn(%q) = %q; want %q", c.raw, got, c.app)
		}
	}
}

// FuzzPayload: what is read and written again is the same, but for what base64 lets
// be written in more than one way; and nothing grows.
func FuzzPayload(f *testing.F) {
	for _, s := range []string{"4hello", "2probe", "4a\x1ebAQID\x1e1", "b=\x1e4", "\x1e", "4\xff", "bAQ=\x1eb-_8", "6\x1e", strings.Repeat("4\x1e", 40)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var again []byte
		count, whole := 0, true
		for rest, more := bytes.Clone(payload), true; more && whole; {
			before := len(rest)
			var p packet
			p, rest, more, whole = cut(rest)
			if !whole {
				break
			}
			count++
			if len(p.Data) >= before || more && len(rest) >= before {
				t.Fatalf("a packet of %d bytes and a rest of %d were cut from %d", len(p.Data), len(rest), before)
			}
			switch {
			case p.kind == message && !travels(p.Message):
				t.Fatalf("message %q came out of a payload, and cannot go into one", p.Data)
			case p.kind == message:
				again = addMessage(again, p.Message)
			default:
				again = append(add(again, p.kind), p.Data...)
			}
		}
		if want := 1 + bytes.Count(payload, []byte{separator}); whole && count != want {
			t.Fatalf("%d packets came out of %q; want %d", count, payload, want)
		}
		if whole && isStrict(payload) && !bytes.Equal(again, payload) {
			t.Fatalf("%q was written again as %q", payload, again)
		}
	})
}

// isStrict reports whether all that is base64 is written as we write it.
func isStrict(payload []byte) bool {
	for p := range bytes.SplitSeq(payload, []byte{separator}) {
		if len(p) == 0 || p[0] != inBase64 {
			continue
		}
		b, err := base64.StdEncoding.Strict().DecodeString(string(p[1:]))
		if err != nil || base64.StdEncoding.EncodeToString(b) != string(p[1:]) {
			return false
		}
	}
	return true
}

func FuzzQuery(f *testing.F) {
	f.Add("EIO=4&transport=polling&sid=x&room=1")
	f.Add("sid=%41&%73id=b&&=&x=%zz")
	f.Fuzz(func(t *testing.T, raw string) {
		parseQuery(raw)
		own := appsOwn(raw)
		if got := parseQuery(own); got != (query{}) {
			t.Fatalf("what is the application's of %q is %q, of which %+v is ours", raw, own, got)
		}
		if again := appsOwn(own); again != own || len(own) > len(raw) {
			t.Fatalf("what is the application's of %q is %q, and of that %q", raw, own, again)
		}
	})
}
