package access_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"sidecar/access"
)

func TestDropVouched(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want http.Header
	}{
		{"none", header("A", "b"), header("A", "b")},
		{"canonical", header("X-Client-Subject", "CN=root", "X-Client-Subject", "CN=two"), http.Header{}},
		{"in every spelling", http.Header{"x-client-subject": {"a"}, "X_client_subject": {"a"}, "X.Client.Subject": {"a"}, "X-Client_SUBJECT": {"a"}, "X+Client-Subject": {"a"}}, http.Header{}},
		{"not its neighbours", header("X-Client-Subjects", "a", "X-Client", "a", "Xx-Client-Subject", "a"), header("X-Client-Subjects", "a", "X-Client", "a", "Xx-Client-Subject", "a")},
		{"in Connection", header("Connection", "upgrade,x-client-subject , keep-alive"), header("Connection", "upgrade, keep-alive")},
		{"in Connection alone", header("Connection", "X_Client_Subject"), http.Header{"Connection": nil}},
		{"in one line of several", header("Connection", "X-Client-Subject", "Connection", "Upgrade, a"), header("Connection", "Upgrade, a")},
		{"Connection with others stays as it was", header("Connection", "keep-alive,Upgrade"), header("Connection", "keep-alive,Upgrade")},
	} {
		access.DropVouched(c.got, "X-Client-Subject")
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: left %q; want %q", c.name, c.got, c.want)
		}
	}
}

// Whatever a header is called: what is left is not read as ours by CGI and its heirs.
func FuzzDropVouched(f *testing.F) {
	f.Add("X_Client_Subject", "upgrade, x-client-subject")
	f.Add("x-client-subject", ",,X-Client-Subject,,")
	f.Add("X-Client-Subject", "\x00")
	f.Fuzz(func(t *testing.T, key, connection string) {
		h := http.Header{key: {"CN=root"}, "Connection": {connection, "keep-alive"}}
		access.DropVouched(h, "X-Client-Subject")
		cgi := func(s string) string {
			return strings.Map(func(r rune) rune {
				if r == '-' || r == '.' {
					return '_'
				}
				return r
			}, strings.ToUpper(s))
		}
		for name := range h {
			if cgi(name) == "X_CLIENT_SUBJECT" {
				t.Errorf("%q is left", name)
			}
		}
		for _, line := range h["Connection"] {
			for token := range strings.SplitSeq(line, ",") {
				if strings.EqualFold(strings.Trim(token, " \t"), "X-Client-Subject") {
					t.Errorf("Connection lists it in %q", line)
				}
			}
		}
	})
}
