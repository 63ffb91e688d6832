package access_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sidecar/access"
)

// request is one whose Origin headers are origins, in the order given.
func request(origins ...string) *http.Request {
	r := &http.Request{Header: http.Header{}}
	if len(origins) > 0 {
		r.Header["Origin"] = origins
	}
	return r
}

// wantRefusal checks that err tells the client status for reason.
func wantRefusal(t *testing.T, err error, status int, reason string) *access.Refusal {
	t.Helper()
	var refusal *access.Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("error %v; want a refusal for %s", err, reason)
	}
	if refusal.Status != status || refusal.Reason != reason {
		t.Errorf("refused with %d for %s; want %d for %s", refusal.Status, refusal.Reason, status, reason)
	}
	return refusal
}

// Cross-site WebSocket hijacking: what another site's page can send. Every one
// is refused, whatever is known of our own scheme, by the zero value and by the
// word alike.
func TestForeignOriginsAreRefused(t *testing.T) {
	tests := []struct {
		name    string
		scheme  string // ours
		host    string // ours
		origins []string
	}{
		{"foreign", "", "x", []string{"http://evil.example"}},
		{"null", "", "x", []string{"null"}},
		{"empty", "", "x", []string{""}},
		{"two, ours first", "", "x", []string{"http://x", "http://evil"}},
		{"two, ours last", "", "x", []string{"http://evil", "http://x"}},
		{"two of ours", "", "x", []string{"http://x", "http://x"}},
		{"two in one header", "", "x", []string{"http://x, http://evil"}},
		{"two in one header, blank", "", "x", []string{"http://x http://evil"}},
		{"user part", "", "x", []string{"http://x@evil"}},
		{"user part, our name last", "", "x", []string{"http://evil@x"}},
		{"password", "", "x", []string{"http://x:80@evil"}},
		{"our name as a label", "", "x", []string{"http://x.evil"}},
		{"our name as a suffix", "", "x.example", []string{"http://evilx.example"}},
		{"a name above ours", "", "a.x.example", []string{"http://x.example"}},
		{"a name below ours", "", "x.example", []string{"http://a.x.example"}},
		{"other port", "", "x:8080", []string{"http://x:8081"}},
		{"other port, ours by default", "", "x", []string{"http://x:8080"}},
		{"other port, theirs by default", "", "x:8080", []string{"http://x"}},
		{"port by the other scheme's default", "", "x:80", []string{"https://x"}},
		{"other scheme, ours http", "http", "x", []string{"https://x"}},
		{"other scheme, ours https", "https", "x", []string{"http://x"}},
		{"other scheme, same port", "https", "x:443", []string{"http://x:443"}},
		{"scheme that is no page's", "", "x", []string{"ftp://x"}},
		{"no scheme", "", "x", []string{"x"}},
		{"no scheme, slashes", "", "x", []string{"//x"}},
		{"path", "", "x", []string{"http://x/"}},
		{"query", "", "x", []string{"http://x?"}},
		{"fragment", "", "x", []string{"http://x#"}},
		{"backslash", "", "x", []string{`http://x\@evil`}},
		{"backslash, our name last", "", "x", []string{`http://evil\x`}},
		{"percent", "", "x", []string{"http://%78"}},
		{"blank before", "", "x", []string{" http://x"}},
		{"blank in it", "", "x", []string{"http:// x"}},
		{"nul", "", "x", []string{"http://x\x00"}},
		{"line break", "", "x", []string{"http://x\r\nX: y"}},
		{"last dot", "", "x", []string{"http://x."}},
		{"empty label", "", "x", []string{"http://.x"}},
		{"port 0", "", "x", []string{"http://x:0"}},
		{"port too large", "", "x", []string{"http://x:65616"}}, // 80 in 16 bits
		{"port empty", "", "x", []string{"http://x:"}},
		{"port twice", "", "x", []string{"http://x:80:80"}},
		{"lookalike letter", "", "x", []string{"http://х"}}, // Cyrillic
		{"letter that lowers to k", "", "k", []string{"http://\u212a"}},
		{"IPv6 with a zone", "", "[fe80::1]", []string{"http://[fe80::1%25eth0]"}},
		{"IPv6 with a zone, asked for so", "", "[fe80::1%eth0]", []string{"http://[fe80::1%eth0]"}},
		{"IPv6 without brackets", "", "[::1]", []string{"http://::1"}},
		{"IPv4 in brackets", "", "127.0.0.1", []string{"http://[127.0.0.1]"}},
		{"rubbish behind brackets", "", "[::1]", []string{"http://[::1]evil"}},
		{"no host asked for", "", "", []string{"http://x"}},
		{"no host at all", "", "", []string{"http://"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := access.Client{Scheme: tt.scheme, Host: tt.host}
			for _, o := range []access.Origins{nil, {"same-origin"}} {
				err := o.Check(request(tt.origins...), c)
				refusal := wantRefusal(t, err, http.StatusForbidden, "origin")
				if !strings.HasSuffix(refusal.Text, " (origins)") {
					t.Errorf("text %q; want the setting's name at its end", refusal.Text)
				}
				if strings.ContainsAny(refusal.Text, "\r\n\x00") {
					t.Errorf("text %q has a stranger's control characters", refusal.Text)
				}
			}
		})
	}
}

func TestSameOriginPasses(t *testing.T) {
	tests := []struct{ name, scheme, host, origin string }{
		{"scheme unknown, http", "", "x", "http://x"},
		{"scheme unknown, https: an ingress ends TLS", "", "x", "https://x"},
		{"known http", "http", "x", "http://x"},
		{"known https", "https", "x", "https://x"},
		{"port", "", "x:8080", "http://x:8080"},
		{"default port asked for", "http", "x:80", "http://x"},
		{"default port asked for, TLS", "https", "x:443", "https://x"},
		{"default port asked for, scheme unknown", "", "x:443", "https://x"},
		{"default port in the origin", "", "x", "http://x:80"},
		{"upper case asked for", "", "Chat.Example", "http://chat.example"},
		{"upper case in the origin", "", "x", "HTTP://X"},
		{"last dot in both", "", "x.", "http://x."},
		{"underscore", "", "my_app:9000", "http://my_app:9000"},
		{"IPv4", "", "127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"IPv6", "", "[::1]:8080", "http://[::1]:8080"},
		{"IPv6 in other words", "", "[0:0::1]", "http://[::1]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := access.Client{Scheme: tt.scheme, Host: tt.host}
			if err := access.Origins(nil).Check(request(tt.origin), c); err != nil {
				t.Errorf("refused: %v; want passed", err)
			}
		})
	}
}

func TestListedOrigins(t *testing.T) {
	tests := []struct {
		name    string
		list    access.Origins
		origins []string
		passes  bool
	}{
		{"listed", access.Origins{"https://a.example"}, []string{"https://a.example"}, true},
		{"second listed", access.Origins{"https://a.example", "https://b.example"}, []string{"https://b.example"}, true},
		{"listed with its default port", access.Origins{"https://a.example:443"}, []string{"https://a.example"}, true},
		{"listed in upper case", access.Origins{"HTTPS://A.Example"}, []string{"https://a.example"}, true},
		{"other scheme", access.Origins{"https://a.example"}, []string{"http://a.example"}, false},
		{"other port", access.Origins{"https://a.example"}, []string{"https://a.example:8443"}, false},
		{"below", access.Origins{"https://a.example"}, []string{"https://b.a.example"}, false},
		{"list instead of same-origin", access.Origins{"https://a.example"}, []string{"http://x"}, false},
		{"list and same-origin", access.Origins{"https://a.example", "same-origin"}, []string{"http://x"}, true},
		{"app scheme", access.Origins{"capacitor://localhost"}, []string{"capacitor://localhost"}, true},
		{"wildcard", access.Origins{"https://*.a.example"}, []string{"https://b.a.example"}, true},
		{"wildcard, two labels", access.Origins{"https://*.a.example"}, []string{"https://c.b.a.example"}, true},
		{"wildcard with port", access.Origins{"https://*.a.example:8443"}, []string{"https://b.a.example:8443"}, true},
		{"wildcard, other port", access.Origins{"https://*.a.example:8443"}, []string{"https://b.a.example"}, false},
		{"wildcard, no label", access.Origins{"https://*.a.example"}, []string{"https://a.example"}, false},
		{"wildcard, empty label", access.Origins{"https://*.a.example"}, []string{"https://.a.example"}, false},
		{"wildcard, part of a label", access.Origins{"https://*.a.example"}, []string{"https://evila.example"}, false},
		{"wildcard, name further left", access.Origins{"https://*.a.example"}, []string{"https://b.a.example.evil"}, false},
		{"wildcard, user part", access.Origins{"https://*.a.example"}, []string{"https://evil@b.a.example"}, false},
		{"wildcard, other scheme", access.Origins{"https://*.a.example"}, []string{"http://b.a.example"}, false},
		{"a wildcard sent", access.Origins{"https://*.a.example"}, []string{"https://*.a.example"}, false},
		{"faulty entry", access.Origins{"a.example"}, []string{"https://a.example"}, false},
		{"null listed", access.Origins{"null"}, []string{"null"}, true},
		{"null not listed", access.Origins{"https://a.example"}, []string{"null"}, false},
		{"the word sent", access.Origins{"same-origin"}, []string{"same-origin"}, false},
		{"any", access.Origins{"*"}, []string{"https://evil.example"}, true},
		{"any, among others", access.Origins{"https://a.example", "*"}, []string{"https://evil.example"}, true},
		{"any, null", access.Origins{"*"}, []string{"null"}, true},
		{"any, rubbish", access.Origins{"*"}, []string{"rubbish"}, true},
		{"any, two headers", access.Origins{"*"}, []string{"https://a.example", "https://b.example"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.list.Check(request(tt.origins...), access.Client{Host: "x"})
			if tt.passes && err != nil {
				t.Errorf("refused: %v; want passed", err)
			}
			if !tt.passes {
				wantRefusal(t, err, http.StatusForbidden, "origin")
			}
		})
	}
}

func TestWithoutOrigin(t *testing.T) {
	tests := []struct {
		name   string
		list   access.Origins
		site   []string
		passes bool
	}{
		{"no browser", nil, nil, true},
		{"same-origin", nil, []string{"same-origin"}, true},
		{"same-site", nil, []string{"same-site"}, true},
		{"typed by the user", nil, []string{"none"}, true},
		{"cross-site", nil, []string{"cross-site"}, false},
		{"cross-site, spelt oddly", nil, []string{" Cross-Site "}, false},
		{"cross-site among two", nil, []string{"same-origin", "cross-site"}, false},
		{"cross-site, a list", access.Origins{"https://a.example"}, []string{"cross-site"}, false},
		{"no browser, a list", access.Origins{"https://a.example"}, nil, true},
		{"cross-site, any", access.Origins{"*"}, []string{"cross-site"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request()
			r.Header["Sec-Fetch-Site"] = tt.site
			err := tt.list.Check(r, access.Client{Host: "x"})
			if tt.passes && err != nil {
				t.Errorf("refused: %v; want passed", err)
			}
			if !tt.passes {
				wantRefusal(t, err, http.StatusForbidden, "origin")
			}
		})
	}
}

func TestRefusedOriginIsQuotedAndShort(t *testing.T) {
	err := access.Origins(nil).Check(request("http://\x1b[2J"+strings.Repeat("a", 100_000)), access.Client{Host: "x"})
	refusal := wantRefusal(t, err, http.StatusForbidden, "origin")
	if want := `origin "http://\x1b[2Jaaa`; !strings.HasPrefix(refusal.Text, want) {
		t.Errorf("text begins %.40q; want %q", refusal.Text, want)
	}
	if got, most := len(refusal.Text), 300; got > most {
		t.Errorf("text has %d bytes; want at most %d", got, most)
	}
}

func TestOriginsValidate(t *testing.T) {
	tests := []struct {
		list access.Origins
		want string // "": valid
	}{
		{nil, ""},
		{access.Origins{"same-origin", "*", "null"}, ""},
		{access.Origins{"https://a.example", "http://localhost:3000", "https://*.a.example:8443", "http://[::1]:80", "capacitor://localhost"}, ""},
		{access.Origins{"https://a.example/"}, `"https://a.example/" ends in a slash: write "https://a.example"`},
		{access.Origins{"https://a.example/chat"}, `"https://a.example/chat" has a path, and an origin has none: write "https://a.example"`},
		{access.Origins{"https://a.example?q"}, `"https://a.example?q" has a path, and an origin has none: write "https://a.example"`},
		{access.Origins{"a.example"}, `"a.example" has no scheme: write "https://a.example"`},
		{access.Origins{"//a.example/"}, `"//a.example/" has no scheme: write "https://a.example"`},
		{access.Origins{"*.a.example"}, `"*.a.example" has no scheme: write "https://*.a.example"`},
		{access.Origins{"Same-Origin"}, `"Same-Origin" is misspelt: write "same-origin"`},
		{access.Origins{""}, `"" is empty: write a scheme and a host, or "null" in quotes for pages that have no origin`},
		{access.Origins{"wss://a.example"}, `"wss://a.example" is an address to connect to: a page's origin is "https://a.example"`},
		{access.Origins{"ws://a.example"}, `"ws://a.example" is an address to connect to: a page's origin is "http://a.example"`},
		{access.Origins{"*://a.example"}, `"*://a.example" has no valid scheme: write one entry for http:// and one for https://`},
		{access.Origins{"https://me@a.example"}, `"https://me@a.example" has a user name, and an origin has none: write scheme://host`},
		{access.Origins{"https://a.*.example"}, `"https://a.*.example" may have a wildcard only for whole labels at the host's begin: write "https://*.example.com"`},
		{access.Origins{"https://*a.example"}, `"https://*a.example" may have a wildcard only for whole labels at the host's begin: write "https://*.example.com"`},
		{access.Origins{"https://*.10.0.0.1"}, `"https://*.10.0.0.1" has a wildcard before an address: list the addresses one by one`},
		{access.Origins{"https://bücher.example"}, `"https://bücher.example" must be in ASCII, as browsers send it: write the host as xn--…`},
		{access.Origins{"https://a.example:0"}, `"https://a.example:0" has no valid host and port: write scheme://host or scheme://host:port`},
		{access.Origins{"https://"}, `"https://" has no valid host and port: write scheme://host or scheme://host:port`},
		{access.Origins{"a", "*", "b"}, "\"a\" has no scheme: write \"https://a\"\n\"b\" has no scheme: write \"https://b\""},
	}
	for _, tt := range tests {
		got := ""
		if err := tt.list.Validate(); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q:\n got %s\nwant %s", tt.list, got, tt.want)
		}
	}
}

// FuzzOrigin: whatever passes is, to another reader of URLs too, an origin on
// our host or below the listed one, and nothing besides.
func FuzzOrigin(f *testing.F) {
	for _, seed := range []string{
		"http://x.example", "https://x.example:443", "http://x@evil", "http://x.example@evil", "null", "", "http://x.example.evil",
		"https://a.b.example", "https://a.b.example@evil", `http://x.example\@evil`, "http://[::1]", "http://x.example:80:80", "http://x.example#.b.example",
		"HTTPS://A.B.EXAMPLE", "https://.b.example", "https://evil/.b.example", "https://evil%2f.b.example",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, scheme := range []string{"", "http", "https"} {
			err := access.Origins{"same-origin"}.Check(request(s), access.Client{Scheme: scheme, Host: "x.example"})
			if err == nil {
				wantOrigin(t, s, scheme, func(host string) bool { return host == "x.example" })
			}
		}
		if err := (access.Origins{"https://*.b.example"}).Check(request(s), access.Client{Host: "x.example"}); err == nil {
			wantOrigin(t, s, "https", func(host string) bool { return strings.HasSuffix(host, ".b.example") })
		}
	})
}

func wantOrigin(t *testing.T, s, scheme string, isOurs func(string) bool) {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatalf("%q passed; it is no URL: %v", s, err)
	}
	if u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || !isOurs(strings.ToLower(u.Hostname())) {
		t.Fatalf("%q passed; it is %+v", s, u)
	}
	if scheme != "" && u.Scheme != scheme {
		t.Fatalf("%q passed; want scheme %s", s, scheme)
	}
}

// Any page may be let in without being named, and then it is not to be trusted
// with what a user's cookies get.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		origins access.Origins
		sent    []string
		want    bool
	}{
		{nil, nil, false},
		{nil, []string{"http://x"}, true},
		{nil, []string{"http://evil"}, false},
		{nil, []string{"http://x", "http://x"}, false},
		{access.Origins{"*"}, []string{"http://evil"}, false},
		{access.Origins{"*"}, []string{"http://x"}, false},
		{access.Origins{"*", "same-origin"}, []string{"http://x"}, true},
		{access.Origins{"*", "https://page.example"}, []string{"https://page.example"}, true},
		{access.Origins{"null"}, []string{"null"}, false},
	} {
		if got := c.origins.Names(request(c.sent...), access.Client{Host: "x"}); got != c.want {
			t.Errorf("%q names %q: %v; want %v", c.origins, c.sent, got, c.want)
		}
	}
}
