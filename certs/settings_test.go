package certs

import (
	"fmt"
	"testing"
)

// acme are settings of mode acme that are good.
func acmeSettings(change func(*Settings)) Settings {
	s := Default()
	s.Mode, s.Domains = modeACME, []string{"a.example"}
	if change != nil {
		change(&s)
	}
	return s
}

func TestSettingsValidate(t *testing.T) {
	mode := func(mode string, change func(*Settings)) Settings {
		s := Default()
		s.Mode = mode
		if change != nil {
			change(&s)
		}
		return s
	}
	one, two := []string{"a"}, []string{"a", "b"}
	for _, c := range []struct {
		name string
		s    Settings
		want string
	}{
		{"default", Default(), "<nil>"},
		{"files", mode("files", func(s *Settings) { s.Cert, s.Key = one, one }), "<nil>"},
		{"several pairs", mode("files", func(s *Settings) { s.Cert, s.Key = two, two }), "<nil>"},
		{"no loops for wss backends", mode("off", func(s *Settings) { s.Loop = false }), "<nil>"},
		{"no redirect", mode("files", func(s *Settings) { s.HTTP, s.Cert, s.Key = "off", one, one }), "<nil>"},
		{"acme", acmeSettings(nil), "<nil>"},
		{"acme with all", acmeSettings(func(s *Settings) {
			s.HTTP, s.EAB, s.Email, s.CA, s.CARoots = ":8080", EAB{"id", "bWFj"}, "ops@a.example", "https://ca.example/dir", "roots.pem"
			s.OnDemand = OnDemand{[]string{"*.a.example", "b.example"}, "http://127.0.0.1:9001/allowed?x=1"}
		}), "<nil>"},
		{"acme on demand alone", acmeSettings(func(s *Settings) { s.Domains, s.OnDemand.Allow = nil, []string{"*.a.example"} }), "<nil>"},
		{"acme without redirect", acmeSettings(func(s *Settings) { s.HTTP, s.Challenges = "off", []string{"tls-alpn-01"} }), "<nil>"},
		{"internal", mode("internal", func(s *Settings) {
			s.Storage, s.Domains = "/var/lib/x", []string{"*.dev.test", "::1", "10.0.0.1", "Localhost."}
		}), "<nil>"},
		{"mode", mode("on", nil), `mode: "on" must be off, files, acme or internal`},
		{"files without key", mode("files", func(s *Settings) { s.Cert = one }), "mode: files needs cert and key"},
		{"a key too few", mode("files", func(s *Settings) { s.Cert, s.Key = two, one }), "key: 1 are named for 2 of cert; name one for each, in the same order"},
		{"acme without names", acmeSettings(func(s *Settings) { s.Domains = nil }), "mode: acme needs domains or on_demand"},
		{"half an account", acmeSettings(func(s *Settings) { s.EAB.MAC = "c2Vj" }), "eab: key_id and mac must be set together"},
		{"unused with off", mode("off", func(s *Settings) {
			s.HTTP, s.Cert, s.Key, s.Domains, s.Email, s.CA, s.CARoots, s.Storage = ":81", one, one, one, "e", "c", "r", "s"
			s.Challenges, s.OnDemand, s.EAB = nil, OnDemand{Ask: "a"}, EAB{"a", "b"}
		}),
			"http: has no effect with mode off\ncert: has no effect with mode off\nkey: has no effect with mode off\n" +
				"domains: has no effect with mode off\nemail: has no effect with mode off\nca: has no effect with mode off\n" +
				"ca_roots: has no effect with mode off\nstorage: has no effect with mode off\nchallenges: has no effect with mode off\n" +
				"on_demand: has no effect with mode off\neab: has no effect with mode off"},
		{"files and domains", mode("files", func(s *Settings) { s.Cert, s.Key, s.Domains = one, one, one }), "domains: has no effect with mode files"},
		{"names that are none", acmeSettings(func(s *Settings) {
			s.Domains = []string{"a.example", "A.example.", "*.b.example", "10.0.0.1", "", "a..b", "-a.b", "ü.example", "a.b/c", "1.2"}
		}), `domains[1]: "A.example." is given twice` + "\n" +
			`domains[2]: "*.b.example" needs the challenge dns-01, which is not in this version; name each host, or use on_demand, or mode files` + "\n" +
			`domains[3]: "10.0.0.1" is an address; certificates are got for names only` + "\n" +
			`domains[4]: "" is empty` + "\n" + `domains[5]: "a..b" has an empty label` + "\n" +
			`domains[6]: "-a.b" has a label that begins or ends with a hyphen` + "\n" +
			`domains[7]: "ü.example" has a character that names of hosts do not have; write others as xn--` + "\n" +
			`domains[8]: "a.b/c" has a character that names of hosts do not have; write others as xn--` + "\n" +
			`domains[9]: "1.2" ends like an address`},
		{"no challenges", acmeSettings(func(s *Settings) { s.Challenges = nil }), "challenges: names none; write http-01, tls-alpn-01 or both"},
		{"http-01 without http", acmeSettings(func(s *Settings) { s.HTTP = "off" }),
			"challenges[0]: http-01 is answered on http, which is off; give that an address, or leave http-01 out"},
		{"a challenge twice", acmeSettings(func(s *Settings) { s.Challenges = []string{"http-01", "http-01"} }), `challenges[1]: "http-01" is given twice`},
		{"an authority in clear", acmeSettings(func(s *Settings) { s.CA = "http://ca.example/dir" }),
			`ca: "http://ca.example/dir" is no https:// URL; write that of the authority's directory`},
		{"an e-mail", acmeSettings(func(s *Settings) { s.Email = "ops" }), `email: "ops" is no address`},
		{"on demand", acmeSettings(func(s *Settings) {
			s.OnDemand = OnDemand{[]string{"*.a.example", "*", "a.*.example"}, "ftp://x"}
		}), `on_demand.allow[1]: "*" has a character that names of hosts do not have; write others as xn--` + "\n" +
			`on_demand.allow[2]: "a.*.example" has a character that names of hosts do not have; write others as xn--` + "\n" +
			`on_demand.ask: "ftp://x" is no URL to ask; write http:// or https:// and a host`},
	} {
		if got := fmt.Sprint(c.s.Validate()); got != c.want {
			t.Errorf("%s: got %s; want %s", c.name, got, c.want)
		}
	}
}

func TestDirOfStorage(t *testing.T) {
	for _, c := range []struct{ set, state, data, home, want string }{
		{"/set", "/state", "/data", "/users/x", "/set"},
		{"", "/state:/other", "/data", "/users/x", "/state"},
		{"", "", "/data", "/users/x", "/data/sidecar"},
		{"", "", "", "/users/x", "/users/x/.local/share/sidecar"},
		{"", "", "", "", ""},
	} {
		t.Setenv("STATE_DIRECTORY", c.state)
		t.Setenv("XDG_DATA_HOME", c.data)
		t.Setenv("HOME", c.home)
		got, err := Settings{Storage: c.set}.Dir()
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: got %q, %v", c, got, err)
		}
	}
}
