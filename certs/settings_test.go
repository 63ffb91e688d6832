package certs

import (
	"fmt"
	"testing"
)

func TestSettingsValidate(t *testing.T) {
	for _, c := range []struct {
		name string
		s    Settings
		want string
	}{
		{"default", Default(), "<nil>"},
		{"files", Settings{Mode: "files", HTTP: ":80", Cert: "a", Key: "b"}, "<nil>"},
		{"no loops for wss backends", Settings{Mode: "off", HTTP: ":80"}, "<nil>"},
		{"no redirect", Settings{Mode: "files", HTTP: "off", Cert: "a", Key: "b"}, "<nil>"},
		{"acme", Settings{Mode: "acme", HTTP: ":8080", Domains: []string{"a.example"}, EAB: EAB{"id", "mac"}}, "<nil>"},
		{"internal", Settings{Mode: "internal", HTTP: ":80", Storage: "/var/lib/x"}, "<nil>"},
		{"mode", Settings{Mode: "on"}, `mode: "on" must be off, files, acme or internal`},
		{"files without key", Settings{Mode: "files", Cert: "a"}, "mode: files needs cert and key"},
		{"acme without domains", Settings{Mode: "acme"}, "mode: acme needs domains"},
		{"half an account", Settings{Mode: "acme", Domains: []string{"a"}, EAB: EAB{MAC: "s3cret"}}, "eab: key_id and mac must be set together"},
		{"unused with off", Settings{Mode: "off", HTTP: ":81", Cert: "a", Key: "b", Domains: []string{"a"}, Email: "e", CA: "c", Storage: "s", OnDemand: true},
			"http: has no effect with mode off\ncert: has no effect with mode off\nkey: has no effect with mode off\n" +
				"domains: has no effect with mode off\nemail: has no effect with mode off\nca: has no effect with mode off\n" +
				"storage: has no effect with mode off\non_demand: has no effect with mode off"},
		{"files and domains", Settings{Mode: "files", HTTP: ":80", Cert: "a", Key: "b", Domains: []string{"a"}}, "domains: has no effect with mode files"},
	} {
		if got := fmt.Sprint(c.s.Validate()); got != c.want {
			t.Errorf("%s: got %s; want %s", c.name, got, c.want)
		}
	}
}
