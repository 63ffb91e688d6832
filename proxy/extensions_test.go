package proxy

import (
	"slices"
	"strings"
	"testing"
)

func TestAgreed(t *testing.T) {
	const deflate = "permessage-deflate"
	for _, c := range []struct {
		offer, answer string
		want          extensions
		fault         string // in the error; "": none
	}{
		{"", "", extensions{}, ""},
		{deflate, "", extensions{}, ""},
		{deflate, deflate, extensions{deflate: true}, ""},
		{deflate, " Permessage-Deflate ", extensions{deflate: true}, ""},
		{deflate + ", " + deflate + "; client_max_window_bits", deflate, extensions{deflate: true}, ""},
		{deflate, deflate + "; server_no_context_takeover; client_no_context_takeover", extensions{deflate: true}, ""},
		{deflate, deflate + ";server_max_window_bits=8;client_max_window_bits=15", extensions{deflate: true}, ""},
		{deflate, deflate + `; server_max_window_bits="10"`, extensions{deflate: true}, ""},
		{deflate, deflate + "; SERVER_MAX_WINDOW_BITS = 9", extensions{deflate: true}, ""},
		{deflate + ", x-a", "x-a; b=c", extensions{unknown: true}, ""},
		{deflate + ", x-a", "x-a," + deflate, extensions{deflate: true, unknown: true}, ""},
		{deflate + ", ;;;", deflate, extensions{deflate: true}, ""},
		{deflate, ", ,", extensions{}, ""},

		{"", deflate, extensions{}, "was not offered"},
		{"x-a", deflate, extensions{}, "was not offered"},
		{";;;, " + deflate, deflate, extensions{}, "was not offered"},
		{deflate, "x-a", extensions{}, "was not offered"},
		{deflate, deflate + ", " + deflate, extensions{}, "twice"},
		{"x-a", "x-a, X-A", extensions{}, "twice"},
		{deflate, deflate + "; server_no_context_takeover; server_no_context_takeover", extensions{}, "twice"},
		{deflate, deflate + "; server_max_window_bits=9; server_max_window_bits=9", extensions{}, "twice"},
		{deflate, deflate + "; server_no_context_takeover=1", extensions{}, "a value"},
		{deflate, deflate + "; client_no_context_takeover=true", extensions{}, "a value"},
		{deflate, deflate + "; unheard-of", extensions{}, "unknown"},
		{deflate, deflate + "; server_max_window_bits", extensions{}, "not 8 to 15"},
		{deflate, deflate + "; client_max_window_bits", extensions{}, "not 8 to 15"},
		{deflate, deflate + "; server_max_window_bits=0", extensions{}, "not 8 to 15"},
		{deflate, deflate + "; server_max_window_bits=7", extensions{}, "not 8 to 15"},
		{deflate, deflate + "; server_max_window_bits=16", extensions{}, "not 8 to 15"},
		{deflate, deflate + "; server_max_window_bits=x", extensions{}, "not 8 to 15"},
		{deflate, deflate + "; server_max_window_bits=08", extensions{}, "not 8 to 15"},
		{deflate, deflate + "; server_max_window_bits=+9", extensions{}, "not 8 to 15"},
		{deflate, deflate + "; server_max_window_bits=-9", extensions{}, "not 8 to 15"},
		{deflate, deflate + "; client_max_window_bits=16", extensions{}, "not 8 to 15"},
		{deflate, deflate + "; server_max_window_bits=99999999999999999999", extensions{}, "not 8 to 15"},
		{deflate, deflate + "; server_max_window_bits=", extensions{}, "malformed"},
		{deflate, deflate + ";", extensions{}, "malformed"},
		{deflate, deflate + " x", extensions{}, "malformed"},
		{deflate, "(" + deflate + ")", extensions{}, "malformed"},
		{deflate, deflate + "; \x80=1", extensions{}, "malformed"},
		{deflate, deflate + strings.Repeat("; a", maxExtensions), extensions{}, "malformed"},
		{deflate, deflate + strings.Repeat(",x", maxExtensions), extensions{}, "malformed"},
	} {
		for _, split := range []bool{false, true} {
			offers, answers := []string{c.offer}, []string{c.answer}
			if split { // a list may come in lines
				offers, answers = strings.Split(c.offer, ","), strings.Split(c.answer, ",")
			}
			got, err := agreed(offers, answers)
			switch {
			case c.fault == "" && (err != nil || got != c.want):
				t.Errorf("agreed(%q, %q) = %+v, %v; want %+v", offers, answers, got, err, c.want)
			case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
				t.Errorf("agreed(%q, %q) = %v; want an error with %q", offers, answers, err, c.fault)
			}
		}
	}
}

// The faults of agreed end a handshake, and what it found rules the frames.
func TestExtensionsEndToEnd(t *testing.T) {
	offer := "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
	for _, bad := range []string{
		"x-other", "permessage-deflate, permessage-deflate", "permessage-deflate; server_max_window_bits=0", "permessage-deflate; server_max_window_bits=7",
		"permessage-deflate; server_max_window_bits=16", "permessage-deflate; server_max_window_bits=x", "permessage-deflate; unheard-of",
	} {
		d, _ := doorTo(t, says(handshakeAnswer("Sec-WebSocket-Extensions: "+bad+"\r\n")))
		_, res := d.ask(handshakeRequest(offer))
		wantStatus(t, res, 502)
		if !d.seen.has("dialed invalid") {
			t.Errorf("%s: events = %q; want dialed invalid", bad, d.seen.events)
		}
	}
	compressed := string(rawFrame(0xc0|opText, "\xf2\x48\xcd\xc9\xc9\x07\x00", false)) // RFC 7692 §7.2.3.1
	d, _ := doorTo(t, says(handshakeAnswer("Sec-WebSocket-Extensions: permessage-deflate\r\n")+compressed))
	p, res := d.ask(handshakeRequest(offer))
	wantStatus(t, res, 101)
	p.want(0xc0|opText, "\xf2\x48\xcd\xc9\xc9\x07\x00")
	p.conn.Close()
	d, _ = doorTo(t, says(handshakeAnswer("")+compressed))
	p, res = d.ask(handshakeRequest(offer))
	wantStatus(t, res, 101)
	p.wantClose(1011)
	p.conn.Close()
}

func FuzzExtensions(f *testing.F) {
	for _, seed := range []string{
		"", "permessage-deflate", "permessage-deflate; client_max_window_bits; server_max_window_bits=10", "foo; bar; baz=2, bar; baz=2", // RFC 6455 §9.1
		`permessage-deflate; server_max_window_bits="10"`, "a;b=\"", ",,;;==", "a;\x00=b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := parseExtensions([]string{s})
		if len(list) > maxExtensions {
			t.Errorf("%q: %d extensions; want at most %d", s, len(list), maxExtensions)
		}
		var again []string
		for _, ext := range list {
			one := ext.name
			for _, p := range ext.params {
				if one += "; " + p.key; p.value != "" {
					one += "=" + p.value
				}
			}
			again = append(again, one)
		}
		back, err2 := parseExtensions(again)
		if err2 != nil || !slices.EqualFunc(list, back, func(a, b extension) bool { return a.name == b.name && slices.Equal(a.params, b.params) }) {
			t.Errorf("%q: %+v written and read again = %+v, %v", s, list, back, err2)
		}
		// Whatever it is: nothing is agreed that was not offered.
		if got, err3 := agreed(nil, []string{s}); err3 == nil && got != (extensions{}) {
			t.Errorf("agreed(nothing, %q) = %+v; want nothing", s, got)
		}
		if got, err3 := agreed([]string{s}, []string{s}); err3 == nil && err != nil {
			t.Errorf("agreed(%q) with itself = %+v, though malformed", s, got)
		}
	})
}
