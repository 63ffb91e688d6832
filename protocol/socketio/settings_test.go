package socketio

import (
	"fmt"
	"testing"
)

func TestSettingsValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Settings)
		want   string
	}{
		{"default", func(*Settings) {}, "<nil>"},
		{"path", func(s *Settings) { s.Path = "" }, `path: "" must begin with /`},
		{"mode", func(s *Settings) { s.Mode = "events" }, `mode: "events" must be message`},
		{"connect_timeout", func(s *Settings) { s.ConnectTimeout = 0 }, "connect_timeout: 0s must be positive"},
	} {
		s := Default()
		c.change(&s)
		if got := fmt.Sprint(s.Validate()); got != c.want {
			t.Errorf("%s: got %s; want %s", c.name, got, c.want)
		}
	}
}
