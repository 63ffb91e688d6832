package admin

import "testing"

func TestSettingsValidate(t *testing.T) {
	for _, c := range []struct {
		s    Settings
		want string
	}{
		{Default(), ""},
		{Settings{Listen: "off"}, ""},
		{Settings{Listen: ":9090", CheckUpstream: true}, ""},
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
