package access_test

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"sidecar/access"
)

func proxies(t testing.TB, list ...string) access.Proxies {
	t.Helper()
	p, err := access.ParseProxies(list)
	if err != nil {
		t.Fatalf("parsing %q: %v", list, err)
	}
	return p
}

// header makes a header of name, value pairs; a name may come again.
func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// trusted is what most of these tests trust: 10.0.0.0/8 and one IPv6 network.
var trusted = []string{"10.0.0.0/8", "2001:db8:aaaa::/48"}

func TestClientAddress(t *testing.T) {
	tests := []struct {
		name string
		peer string
		h    http.Header
		addr string // "": unknown
		path string // the X-Forwarded-For that the backend gets
	}{
		{"no headers", "192.0.2.1:1", header(), "192.0.2.1", "192.0.2.1"},
		{"IPv6 peer", "[2001:db8::1]:1", header(), "2001:db8::1", "2001:db8::1"},
		{"IPv4 in IPv6 peer", "[::ffff:192.0.2.1]:1", header(), "192.0.2.1", "192.0.2.1"},
		{"peer with a zone", "[fe80::1%eth0]:1", header(), "fe80::1", "fe80::1"},
		{"peer that is no address", "pipe", header("X-Forwarded-For", "192.0.2.9"), "", ""},

		{"untrusted peer's X-Forwarded-For", "192.0.2.1:1", header("X-Forwarded-For", "10.0.0.1"), "192.0.2.1", "192.0.2.1"},
		{"untrusted peer's Forwarded", "192.0.2.1:1", header("Forwarded", "for=10.0.0.1"), "192.0.2.1", "192.0.2.1"},
		{"untrusted peer, trusted name in the header", "192.0.2.1:1", header("X-Forwarded-For", "127.0.0.1, 10.0.0.1"), "192.0.2.1", "192.0.2.1"},

		{"trusted peer without word", "10.0.0.1:1", header(), "10.0.0.1", "10.0.0.1"},
		{"one hop", "10.0.0.1:1", header("X-Forwarded-For", "192.0.2.9"), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"trusted IPv4 in IPv6", "[::ffff:10.0.0.1]:1", header("X-Forwarded-For", "192.0.2.9"), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"trusted IPv6", "[2001:db8:aaaa::1]:1", header("X-Forwarded-For", "2001:db8::9"), "2001:db8::9", "2001:db8::9, 2001:db8:aaaa::1"},
		{"a stranger's word further left", "10.0.0.1:1", header("X-Forwarded-For", "127.0.0.1, 192.0.2.9"), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"a stranger names a trusted one", "10.0.0.1:1", header("X-Forwarded-For", "10.9.9.9, 192.0.2.9"), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"two trusted hops", "10.0.0.1:1", header("X-Forwarded-For", "6.6.6.6, 192.0.2.9, 10.0.0.2"), "192.0.2.9", "192.0.2.9, 10.0.0.2, 10.0.0.1"},
		{"trusted all along", "10.0.0.1:1", header("X-Forwarded-For", "10.0.0.3, 10.0.0.2"), "10.0.0.3", "10.0.0.3, 10.0.0.2, 10.0.0.1"},
		{"several lines", "10.0.0.1:1", header("X-Forwarded-For", "6.6.6.6", "X-Forwarded-For", "192.0.2.9", "X-Forwarded-For", "10.0.0.2"), "192.0.2.9", "192.0.2.9, 10.0.0.2, 10.0.0.1"},
		{"lines with lists", "10.0.0.1:1", header("X-Forwarded-For", "6.6.6.6,192.0.2.9", "X-Forwarded-For", "10.0.0.3,10.0.0.2"), "192.0.2.9", "192.0.2.9, 10.0.0.3, 10.0.0.2, 10.0.0.1"},
		{"port", "10.0.0.1:1", header("X-Forwarded-For", "192.0.2.9:4711"), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"IPv6 in brackets with port", "10.0.0.1:1", header("X-Forwarded-For", "[2001:db8::9]:4711"), "2001:db8::9", "2001:db8::9, 10.0.0.1"},
		{"IPv6 in brackets", "10.0.0.1:1", header("X-Forwarded-For", "[2001:db8::9]"), "2001:db8::9", "2001:db8::9, 10.0.0.1"},
		{"zone", "10.0.0.1:1", header("X-Forwarded-For", "fe80::9%evil"), "fe80::9", "fe80::9, 10.0.0.1"},
		{"blanks", "10.0.0.1:1", header("X-Forwarded-For", "\t6.6.6.6 ,\t192.0.2.9 "), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"a zone of 100 kB", "10.0.0.1:1", header("X-Forwarded-For", "fe80::9%"+strings.Repeat("a", 100_000)), "10.0.0.1", "10.0.0.1"},
		{"unknown", "10.0.0.1:1", header("X-Forwarded-For", "6.6.6.6, unknown"), "10.0.0.1", "10.0.0.1"},
		{"unknown behind a trusted hop", "10.0.0.1:1", header("X-Forwarded-For", "6.6.6.6, unknown, 10.0.0.2"), "10.0.0.2", "10.0.0.2, 10.0.0.1"},
		{"empty element", "10.0.0.1:1", header("X-Forwarded-For", "6.6.6.6, , 10.0.0.2"), "10.0.0.2", "10.0.0.2, 10.0.0.1"},
		{"empty header", "10.0.0.1:1", header("X-Forwarded-For", ""), "10.0.0.1", "10.0.0.1"},
		{"empty header hides Forwarded", "10.0.0.1:1", header("X-Forwarded-For", "", "Forwarded", "for=6.6.6.6"), "10.0.0.1", "10.0.0.1"},
		{"rubbish", "10.0.0.1:1", header("X-Forwarded-For", "6.6.6.6, 1.2.3"), "10.0.0.1", "10.0.0.1"},
		{"injected lines", "10.0.0.1:1", header("X-Forwarded-For", "192.0.2.9\r\nEvil: 1"), "10.0.0.1", "10.0.0.1"},
		{"nul", "10.0.0.1:1", header("X-Forwarded-For", "192.0.2.9\x00"), "10.0.0.1", "10.0.0.1"},
		{"100 kB", "10.0.0.1:1", header("X-Forwarded-For", strings.Repeat("1", 100_000)), "10.0.0.1", "10.0.0.1"},
		{"underscores", "10.0.0.1:1", header("X_Forwarded_For", "6.6.6.6", "X-Forwarded-For", "192.0.2.9"), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"underscores only", "10.0.0.1:1", header("X_Forwarded_For", "6.6.6.6"), "10.0.0.1", "10.0.0.1"},
		{"X-Real-Ip is nobody's word", "10.0.0.1:1", header("X-Real-Ip", "6.6.6.6"), "10.0.0.1", "10.0.0.1"},
		{"X-Forwarded-For before Forwarded", "10.0.0.1:1", header("X-Forwarded-For", "192.0.2.9", "Forwarded", "for=6.6.6.6"), "192.0.2.9", "192.0.2.9, 10.0.0.1"},

		{"Forwarded", "10.0.0.1:1", header("Forwarded", "for=192.0.2.9"), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"Forwarded, all parameters", "10.0.0.1:1", header("Forwarded", `For="192.0.2.9:4711"; Proto=https;host=x;by=203.0.113.1`), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"Forwarded, IPv6", "10.0.0.1:1", header("Forwarded", `for="[2001:db8::9]:4711"`), "2001:db8::9", "2001:db8::9, 10.0.0.1"},
		{"Forwarded, IPv6 without port", "10.0.0.1:1", header("Forwarded", `for="[2001:db8::9]"`), "2001:db8::9", "2001:db8::9, 10.0.0.1"},
		{"Forwarded, escaped", "10.0.0.1:1", header("Forwarded", `for="192\.0.2.9"`), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"Forwarded, not quoted", "10.0.0.1:1", header("Forwarded", `for=192.0.2.9:4711`), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"Forwarded, two trusted hops", "10.0.0.1:1", header("Forwarded", `for=6.6.6.6, for=192.0.2.9, for=10.0.0.2`), "192.0.2.9", "192.0.2.9, 10.0.0.2, 10.0.0.1"},
		{"Forwarded, several lines", "10.0.0.1:1", header("Forwarded", `for=6.6.6.6`, "Forwarded", `for=192.0.2.9`, "Forwarded", `for=10.0.0.2`), "192.0.2.9", "192.0.2.9, 10.0.0.2, 10.0.0.1"},
		{"Forwarded, unknown", "10.0.0.1:1", header("Forwarded", `for=6.6.6.6, for=unknown, for=10.0.0.2`), "10.0.0.2", "10.0.0.2, 10.0.0.1"},
		{"Forwarded, obfuscated", "10.0.0.1:1", header("Forwarded", `for=6.6.6.6, for=_hidden, for=10.0.0.2`), "10.0.0.2", "10.0.0.2, 10.0.0.1"},
		{"Forwarded, obfuscated port", "10.0.0.1:1", header("Forwarded", `for=6.6.6.6, for="192.0.2.9:_p"`), "10.0.0.1", "10.0.0.1"},
		{"Forwarded, no for", "10.0.0.1:1", header("Forwarded", `for=6.6.6.6, proto=https`), "10.0.0.1", "10.0.0.1"},
		{"Forwarded, for twice", "10.0.0.1:1", header("Forwarded", `for=6.6.6.6;for=192.0.2.9`), "10.0.0.1", "10.0.0.1"},
		{"Forwarded, empty pairs", "10.0.0.1:1", header("Forwarded", `;for=192.0.2.9;;`), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"Forwarded, comma in quotes", "10.0.0.1:1", header("Forwarded", `for=192.0.2.9;x="a, for=6.6.6.6"`), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"Forwarded, semicolon in quotes", "10.0.0.1:1", header("Forwarded", `x="a;for=6.6.6.6";for=192.0.2.9`), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"Forwarded, escaped quote", "10.0.0.1:1", header("Forwarded", `x="a\", for=6.6.6.6";for=192.0.2.9`), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"Forwarded, comma before an escaped quote", "10.0.0.1:1", header("Forwarded", `x="a, for=6.6.6.6, \"";for=192.0.2.9`), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"Forwarded, escaped backslash", "10.0.0.1:1", header("Forwarded", `x="a, \\";for=192.0.2.9`), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"Forwarded, a stranger's open quote", "10.0.0.1:1", header("Forwarded", `x=", for=192.0.2.9`), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"Forwarded, an open quote that a proxy's closes", "10.0.0.1:1", header("Forwarded", `for=6.6.6.6;x=", for="[2001:db8::9]"`), "2001:db8::9", "2001:db8::9, 10.0.0.1"},
		{"Forwarded, an open quote in a line before", "10.0.0.1:1", header("Forwarded", `x="`, "Forwarded", `for="192.0.2.9"`), "192.0.2.9", "192.0.2.9, 10.0.0.1"},
		{"Forwarded, text behind a quote", "10.0.0.1:1", header("Forwarded", `for="192.0.2.9"x`), "10.0.0.1", "10.0.0.1"},
		{"Forwarded, empty", "10.0.0.1:1", header("Forwarded", ``), "10.0.0.1", "10.0.0.1"},
	}
	p := proxies(t, trusted...)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := p.Client(&http.Request{RemoteAddr: tt.peer, Header: tt.h})
			want := netip.Addr{}
			if tt.addr != "" {
				want = netip.MustParseAddr(tt.addr)
			}
			if c.Addr != want {
				t.Errorf("address %v; want %v", c.Addr, want)
			}
			c.SetForwarded(tt.h)
			if got := tt.h.Get("X-Forwarded-For"); got != tt.path {
				t.Errorf("X-Forwarded-For for the backend %q; want %q", got, tt.path)
			}
		})
	}
}

func TestClientOverUnixSocket(t *testing.T) {
	for _, peer := range []string{"", "@", "/run/client.sock", "@abstract"} {
		h := header("X-Forwarded-For", "192.0.2.9", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "real.example")
		r := &http.Request{RemoteAddr: peer, Host: "asked.example", Header: h}
		if c := proxies(t, "0.0.0.0/0", "::/0").Client(r); c.Addr.IsValid() || c.Scheme != "" || c.Host != "asked.example" {
			t.Errorf("peer %q: believed as %+v without unix in the list", peer, c)
		}
		c := proxies(t, "unix").Client(r)
		if got, want := c.Addr.String(), "192.0.2.9"; got != want || c.Scheme != "https" || c.Host != "real.example" {
			t.Errorf("peer %q: %+v; want %s by https at real.example", peer, c, want)
		}
		c.SetForwarded(h)
		if got, want := h.Get("X-Forwarded-For"), "192.0.2.9"; got != want {
			t.Errorf("peer %q: X-Forwarded-For for the backend %q; want %q", peer, got, want)
		}
	}
}

func TestClientSchemeAndHost(t *testing.T) {
	const stranger, proxy = "192.0.2.1:1", "10.0.0.1:1"
	tests := []struct {
		name   string
		peer   string
		tls    bool
		h      http.Header
		scheme string
		host   string
	}{
		{"clear", stranger, false, header(), "", "asked"},
		{"TLS", stranger, true, header(), "https", "asked"},
		{"a stranger's word", stranger, false, header("X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil"), "", "asked"},
		{"a stranger's word over TLS", stranger, true, header("X-Forwarded-Proto", "http", "X-Forwarded-Host", "evil"), "https", "asked"},
		{"a stranger's Forwarded", stranger, false, header("Forwarded", "for=1.1.1.1;proto=https;host=evil"), "", "asked"},
		{"trusted, silent", proxy, false, header(), "", "asked"},
		{"trusted, silent, TLS", proxy, true, header(), "https", "asked"},
		{"trusted", proxy, false, header("X-Forwarded-Proto", "https", "X-Forwarded-Host", "real:8443"), "https", "real:8443"},
		{"trusted over TLS, client in clear", proxy, true, header("X-Forwarded-Proto", "http"), "http", "asked"},
		{"upper case", proxy, false, header("X-Forwarded-Proto", "HTTPS"), "https", "asked"},
		{"wss", proxy, false, header("X-Forwarded-Proto", "wss"), "https", "asked"},
		{"ws", proxy, false, header("X-Forwarded-Proto", "ws"), "http", "asked"},
		{"unheard of", proxy, false, header("X-Forwarded-Proto", "gopher", "X-Forwarded-Host", "a b"), "", "asked"},
		{"injected", proxy, false, header("X-Forwarded-Proto", "https\r\nEvil: 1", "X-Forwarded-Host", "real\r\nEvil: 1"), "", "asked"},
		{"nul", proxy, false, header("X-Forwarded-Proto", "https\x00", "X-Forwarded-Host", "real\x00"), "", "asked"},
		{"100 kB", proxy, false, header("X-Forwarded-Host", strings.Repeat("a", 100_000)), "", "asked"},
		{"last of several", proxy, false, header("X-Forwarded-Proto", "http, https", "X-Forwarded-Host", "evil, real"), "https", "real"},
		{"last of several lines", proxy, false, header("X-Forwarded-Proto", "http", "X-Forwarded-Proto", "https"), "https", "asked"},
		{"at the chosen hop", proxy, false, header("X-Forwarded-For", "6.6.6.6, 192.0.2.9, 10.0.0.2", "X-Forwarded-Proto", "http, https, http", "X-Forwarded-Host", "evil, real, inner"), "https", "real"},
		{"as many as hops, last chosen", proxy, false, header("X-Forwarded-For", "6.6.6.6, 192.0.2.9", "X-Forwarded-Proto", "http, https"), "https", "asked"},
		{"fewer than hops", proxy, false, header("X-Forwarded-For", "192.0.2.9, 10.0.0.2", "X-Forwarded-Proto", "https"), "https", "asked"},
		{"more than hops", proxy, false, header("X-Forwarded-For", "192.0.2.9", "X-Forwarded-Proto", "http, https"), "https", "asked"},
		{"client unknown", proxy, false, header("X-Forwarded-For", "unknown", "X-Forwarded-Proto", "https"), "https", "asked"},
		{"Forwarded", proxy, false, header("Forwarded", `for=192.0.2.9;proto=https;host="real:8443"`), "https", "real:8443"},
		{"Forwarded at the chosen hop", proxy, false, header("Forwarded", `for=6.6.6.6;proto=http;host=evil, for=192.0.2.9;proto=https;host=real, for=10.0.0.2;proto=http;host=inner`), "https", "real"},
		{"Forwarded, only the inner proxy says", proxy, false, header("Forwarded", `for=192.0.2.9, for=10.0.0.2;proto=https;host=real`), "https", "real"},
		{"Forwarded, the stranger says alone", proxy, false, header("Forwarded", `for=6.6.6.6;proto=https;host=evil, for=192.0.2.9`), "", "asked"},
		{"Forwarded, client unknown", proxy, false, header("Forwarded", `for=6.6.6.6;proto=http, for=unknown;proto=https`), "https", "asked"},
		{"Forwarded without proto, and X-Forwarded-Proto", proxy, false, header("Forwarded", `for=192.0.2.9`, "X-Forwarded-Proto", "https"), "https", "asked"},
		{"Forwarded hidden by X-Forwarded-For", proxy, false, header("X-Forwarded-For", "192.0.2.9", "Forwarded", `for=192.0.2.9;proto=https;host=evil`), "", "asked"},
	}
	p := proxies(t, trusted...)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: tt.peer, Host: "asked", Header: tt.h}
			if tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			c := p.Client(r)
			if c.Scheme != tt.scheme || c.Host != tt.host {
				t.Errorf("scheme %q, host %q; want %q, %q", c.Scheme, c.Host, tt.scheme, tt.host)
			}
		})
	}
}

func TestHopsAreBounded(t *testing.T) {
	p := proxies(t, trusted...)
	for name, h := range map[string]http.Header{
		"X-Forwarded-For": header("X-Forwarded-For", "192.0.2.9"+strings.Repeat(", 10.0.0.2", 1000)),
		"lines":           {"X-Forwarded-For": append([]string{"192.0.2.9"}, strings.Fields(strings.Repeat("10.0.0.2 ", 1000))...)},
		"Forwarded":       header("Forwarded", "for=192.0.2.9"+strings.Repeat(", for=10.0.0.2", 1000)),
	} {
		c := p.Client(&http.Request{RemoteAddr: "10.0.0.1:1", Header: h})
		c.SetForwarded(h)
		hops := strings.Split(h.Get("X-Forwarded-For"), ", ")
		if got, want := len(hops), 64+1; got != want {
			t.Errorf("%s: %d hops with the peer; want %d", name, got, want)
		}
		if got, want := c.Addr.String(), "10.0.0.2"; got != want {
			t.Errorf("%s: address %s; want the last hop looked at, %s", name, got, want)
		}
	}
}

func TestHostileHeadersCostLittle(t *testing.T) {
	const size = 1 << 20
	p := proxies(t, trusted...)
	for name, value := range map[string]string{
		"commas":           strings.Repeat(",", size),
		"quotes":           strings.Repeat(`"`, size),
		"backslashes":      strings.Repeat(`\`, size) + `"`,
		"escaped quotes":   `"` + strings.Repeat(`\"`, size/2) + `"`,
		"semicolons":       strings.Repeat(";", size),
		"pairs":            strings.Repeat("a=b;", size/4),
		"commas in quotes": `"` + strings.Repeat(",", size) + `"`,
	} {
		for _, name2 := range []string{"X-Forwarded-For", "Forwarded"} {
			r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: header(name2, value, "X-Forwarded-Proto", value, "X-Forwarded-Host", value)}
			if got, most := testing.AllocsPerRun(1, func() { p.Client(r) }), 10.0; got > most {
				t.Errorf("%s of %s: %v allocations; want at most %v", name2, name, got, most)
			}
		}
	}
}

func TestParseProxies(t *testing.T) {
	tests := []struct {
		entry string
		yes   []string
		no    []string
	}{
		{"10.0.0.7", []string{"10.0.0.7", "::ffff:10.0.0.7"}, []string{"10.0.0.8"}},
		{"10.0.0.0/8", []string{"10.255.255.255"}, []string{"11.0.0.0", "::a00:1"}},
		{"10.1.2.3/8", []string{"10.0.0.1"}, []string{"11.0.0.0"}},
		{"::1", []string{"::1"}, []string{"127.0.0.1", "::2"}},
		{"fd00::/8", []string{"fd12::1", "fd12::1%eth0"}, []string{"fe00::1", "10.0.0.1"}},
		{"::ffff:10.0.0.7", []string{"10.0.0.7"}, []string{"10.0.0.8"}},
		{"::ffff:10.0.0.0/104", []string{"10.255.0.1"}, []string{"11.0.0.1"}},
		{"fe80::1%eth0", []string{"fe80::1", "fe80::1%eth1"}, []string{"fe80::2"}},
		{"fe80::%eth0/10", []string{"fe80::1"}, []string{"fec0::1"}},
		{"0.0.0.0/0", []string{"192.0.2.1"}, []string{"2001:db8::1"}},
		{"::/0", []string{"2001:db8::1"}, []string{"192.0.2.1"}},
		{"unix", nil, []string{"127.0.0.1", "::1"}},
	}
	for _, tt := range tests {
		p := proxies(t, tt.entry)
		for _, addr := range tt.yes {
			if !p.Trusts(netip.MustParseAddr(addr)) {
				t.Errorf("%s does not trust %s", tt.entry, addr)
			}
		}
		for _, addr := range tt.no {
			if p.Trusts(netip.MustParseAddr(addr)) {
				t.Errorf("%s trusts %s", tt.entry, addr)
			}
		}
	}
	if (access.Proxies{}).Trusts(netip.MustParseAddr("127.0.0.1")) || proxies(t).Trusts(netip.Addr{}) {
		t.Error("an empty list trusts somebody")
	}
}

func TestParseProxiesFaults(t *testing.T) {
	const noAddress = " is no address: write one (10.0.0.7), a prefix (10.0.0.0/8, fd00::/8) or unix"
	tests := []struct {
		list []string
		want string
	}{
		{[]string{"proxy.example"}, `"proxy.example"` + noAddress},
		{[]string{""}, `""` + noAddress},
		{[]string{"10.0.0.7:80"}, `"10.0.0.7:80"` + noAddress},
		{[]string{"*"}, `"*"` + noAddress},
		{[]string{"10.0.0.0/33"}, `"10.0.0.0/33" has no valid prefix length: write 0 to 32 after the slash`},
		{[]string{"10.0.0.0/"}, `"10.0.0.0/" has no valid prefix length: write 0 to 32 after the slash`},
		{[]string{"fd00::/129"}, `"fd00::/129" has no valid prefix length: write 0 to 128 after the slash`},
		{[]string{"::ffff:10.0.0.0/8"}, `"::ffff:10.0.0.0/8" covers more than IPv4: write the prefix as IPv4 (10.0.0.0/8), or 96 to 128 after the slash`},
		{[]string{"a", "10.0.0.1", "b"}, `"a"` + noAddress + "\n" + `"b"` + noAddress},
	}
	for _, tt := range tests {
		_, err := access.ParseProxies(tt.list)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%q:\n got %v\nwant %s", tt.list, err, tt.want)
		}
	}
}

// FuzzForwarded: whatever a stranger sends, he cannot change what the trusted
// proxy wrote behind it, and nothing else of his reaches the backend.
func FuzzForwarded(f *testing.F) {
	for _, seed := range []string{
		"", "for=1.2.3.4", `for="[2001:db8::1]:4711"`, `x="`, `x=\`, `x="\`, `for="a, for=b"`, "unknown", "for=_x;proto=https;host=h", ",,,", `"\"`, "1.2.3.4:5, [::1]:6",
		`for=192.0.2.43, for="[2001:db8:cafe::17]"`, `for=192.0.2.60;proto=http;by=203.0.113.43`, // RFC 7239 section 4
	} {
		f.Add(seed)
	}
	p := proxies(f, trusted...)
	f.Fuzz(func(t *testing.T, s string) {
		client := func(name string, lines ...string) access.Client {
			return p.Client(&http.Request{RemoteAddr: "10.0.0.1:1", Host: "asked", Header: http.Header{name: lines}})
		}
		for _, name := range []string{"X-Forwarded-For", "Forwarded"} {
			c := client(name, s)
			if !c.Addr.IsValid() || c.Addr.Zone() != "" || c.Addr.Is4In6() {
				t.Errorf("%s %q: address %v", name, s, c.Addr)
			}
			h := http.Header{name: {s}}
			c.SetForwarded(h)
			wantPlain(t, h)
		}
		wantClient(t, client("X-Forwarded-For", s+", 192.0.2.9, 10.0.0.2"), "")
		wantClient(t, client("X-Forwarded-For", s, "192.0.2.9", "10.0.0.2"), "")
		wantClient(t, client("Forwarded", s+`, for="192.0.2.9:1";proto=https, for=10.0.0.2;by="_b"`), "https")
		wantClient(t, client("Forwarded", s, `for=192.0.2.9;proto="https"`, `by="[::1]";for="10.0.0.2"`), "https")
	})
}

func wantClient(t *testing.T, c access.Client, scheme string) {
	t.Helper()
	if got, want := c.Addr.String(), "192.0.2.9"; got != want || c.Scheme != scheme || c.Host != "asked" {
		t.Errorf("%+v; want %s by %q at asked", c, want, scheme)
	}
}

// wantPlain checks that h is the three headers we vouch for, in plain letters.
func wantPlain(t *testing.T, h http.Header) {
	t.Helper()
	if len(h) != 3 {
		t.Errorf("headers %v; want three", h)
	}
	for name, values := range h {
		odd := func(r rune) bool { return r <= ' ' && r != ' ' || r > '~' }
		if len(values) != 1 || strings.ContainsFunc(values[0], odd) || strings.Count(values[0], ",") > 64 {
			t.Errorf("%s: %q", name, values)
		}
	}
}
