package sockjs

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
		{"path of its own", func(s *Settings) { s.Path = "/sockjs" }, "<nil>"},
		{"path", func(s *Settings) { s.Path = "sockjs" }, `path: "sockjs" must be empty or begin with /`},
		{"response_limit", func(s *Settings) { s.ResponseLimit = 0 }, "response_limit: 0 must be at least 1 byte"},
		{"heartbeat", func(s *Settings) { s.Heartbeat = 0 }, "heartbeat: 0s must be positive"},
		{"disconnect_delay", func(s *Settings) { s.DisconnectDelay = 0 }, "disconnect_delay: 0s must be positive"},
	} {
		s := Default()
		c.change(&s)
		if got := fmt.Sprint(s.Validate()); got != c.want {
			t.Errorf("%s: got %s; want %s", c.name, got, c.want)
		}
	}
}
