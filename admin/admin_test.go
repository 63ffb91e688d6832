package admin

import "testing"

func TestSettingsValidate(t *testing.T) {
	for _, c := range []struct {
		s    Settings
		want string
	}{
		{Default(), ""},
		{Settings{Listen: "off"}, ""},
		{Settings{Listen: "unix:/run/ops.sock"}, ""},
		{Settings{Listen: "[::1]:0"}, ""},
		{Settings{Listen: ":9090"}, ""},
		{Settings{Listen: ""}, `listen: "" must be host:port, unix:/path or off`},
		{Settings{Listen: "9090"}, `listen: "9090" must be host:port, unix:/path or off`},
		{Settings{Listen: "unix:"}, `listen: "unix:" names no path; write unix:/path`},
		{Settings{Listen: "localhost:http"}, `listen: "localhost:http" has no port between 0 and 65535`},
		{Settings{Listen: "localhost:65536"}, `listen: "localhost:65536" has no port between 0 and 65535`},
		{Settings{Listen: "off", CheckUpstream: true}, "check_upstream: true needs an ops listener, but listen is off"},
	} {
		got := ""
		if err := c.s.Validate(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%+v: got %q; want %q", c.s, got, c.want)
		}
	}
}
