package proxy

import (
	"bytes"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"sidecar/access"
)

// FuzzHeadLines holds what we write for headers against what net/http writes.
func FuzzHeadLines(f *testing.F) {
	f.Add("X-A", "1", "B", "2\r\nEvil: 1", " c\t")
	f.Add("b", "", "B", "\r", "\n")
	f.Add("", "x", "A B", "y", "\x80\xff")
	f.Add("A:", "x", "A\r\nB", "y", "z")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2, value3 string) {
		h := http.Header{name1: {value1}, name2: {value2, value3}, "Host": {"a"}}
		var want bytes.Buffer
		h.Write(&want)
		m := newHead()
		defer m.free()
		m.lines(h, func(string) bool { return false })
		if got := string(m.b); got != want.String() {
			t.Errorf("lines of %q = %q; want %q", h, got, want.String())
		}
	})
}

// A head that was used before leaves nothing behind in the next.
func TestHeadsAreWrittenAnew(t *testing.T) {
	c := access.Client{Addr: netip.MustParseAddr("192.0.2.1"), Host: "a"}
	for _, extra := range []string{strings.Repeat("x", 20<<10), "y", ""} {
		r, err := http.NewRequest("GET", "http://a/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Sec-Websocket-Key": {testKey}, "Connection": {"Upgrade, X-Gone"}, "X-Gone": {"1"}, "X-Extra": {extra}}
		m := newHead()
		m.ask(r, "/t", nil, c, "id")
		want := "GET /t HTTP/1.1\r\nHost: a\r\nX-Extra: " + extra + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-Websocket-Version: 13\r\n" +
			"Sec-Websocket-Key: " + testKey + "\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: a\r\nX-Forwarded-Proto: http\r\nX-Sidecar-Session: id\r\n\r\n"
		if got := string(m.b); got != want {
			t.Errorf("head = %q; want %q", got, want)
		}
		m.free()
	}
}
