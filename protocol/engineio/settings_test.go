package engineio

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
		{"path", func(s *Settings) { s.Path = "engine.io" }, `path: "engine.io" must begin with /`},
		{"ping_interval", func(s *Settings) { s.PingInterval = 0 }, "ping_interval: 0s must be positive"},
		{"ping_timeout", func(s *Settings) { s.PingTimeout = 0 }, "ping_timeout: 0s must be positive"},
		{"upgrade_timeout", func(s *Settings) { s.UpgradeTimeout = -1 }, "upgrade_timeout: -1ns must be positive"},
		{"max_payload", func(s *Settings) { s.MaxPayload = 1023 }, "max_payload: 1023 must be at least 1024 bytes"},
	} {
		s := Default()
		c.change(&s)
		if got := fmt.Sprint(s.Validate()); got != c.want {
			t.Errorf("%s: got %s; want %s", c.name, got, c.want)
		}
	}
}
