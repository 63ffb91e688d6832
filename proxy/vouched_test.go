package proxy

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sidecar/access"
)

// Whatever a stranger lists in Connection, and however he spells a header that we vouch
// for, the backend gets ours, and that alone.
func FuzzVouchedHeader(f *testing.F) {
	for _, s := range []string{
		"X-Client-Subject", "\u00a0X-Client-Subject", "x_client_subject\u0085", "\u2003x.client.subject", ",, X-Client-Subject\t,", "\"X-Client-Subject\"", "\x00X-Client-Subject",
	} {
		f.Add("Upgrade, "+s, s)
		f.Add(s+",close", "X-CLIENT-SUBJECT")
	}
	f.Fuzz(func(t *testing.T, listed, spelled string) {
		r := httptest.NewRequest("GET", "/ws", nil)
		r.Header = http.Header{"Connection": {listed, "Upgrade"}, http.CanonicalHeaderKey(spelled): {"CN=root"}}
		access.DropVouched(r.Header, "X-Client-Subject")
		r.Header["X-Client-Subject"] = []string{"CN=alice"}
		m := newHead()
		defer m.free()
		m.ask(r, "/ws", nil, access.Client{}, "id")
		told := 0
		for line := range strings.SplitSeq(string(m.b), "\r\n") {
			name, value, _ := strings.Cut(line, ": ")
			if !strings.EqualFold(strings.NewReplacer("_", "-", ".", "-").Replace(name), "X-Client-Subject") {
				continue
			}
			if told++; value != "CN=alice" {
				t.Errorf("Connection: %q, and %q: the backend is told %q", listed, spelled, line)
			}
		}
		if told != 1 {
			t.Errorf("Connection: %q, and %q: the backend is told %d times; want once", listed, spelled, told)
		}
	})
}
