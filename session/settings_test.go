package session

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
		{"close, a cookie, a small window", func(s *Settings) {
			s.Overflow, s.Identity, s.Window = "close", []string{"cookie:sid", "X-User"}, minWindow
		}, "<nil>"},
		{"no identity", func(s *Settings) { s.Identity = nil }, "<nil>"},
		{"ttl", func(s *Settings) { s.TTL = 0 }, "ttl: 0s must be positive"},
		{"window", func(s *Settings) { s.Window = minWindow - 1 }, "window: 4095 must be at least 4096 bytes"},
		{"overflow", func(s *Settings) { s.Overflow = "drop" }, `overflow: "drop" must be pause or close`},
		{"all cookies", func(s *Settings) { s.Identity = []string{"Authorization", "Cookie"} },
			`identity[1]: "Cookie" changes as cookies come and go; name one, as cookie:NAME`},
		{"no name", func(s *Settings) { s.Identity = []string{"cookie:"} }, `identity[0]: "cookie:" is neither a header's name nor cookie:NAME`},
		{"no token", func(s *Settings) { s.Identity = []string{"a b"} }, `identity[0]: "a b" is neither a header's name nor cookie:NAME`},
		{"all at once", func(s *Settings) { *s = Settings{Overflow: "x"} },
			"ttl: 0s must be positive\nwindow: 0 must be at least 4096 bytes\noverflow: \"x\" must be pause or close"},
	} {
		s := Default()
		c.change(&s)
		if got := fmt.Sprint(s.Validate()); got != c.want {
			t.Errorf("%s: got %s; want %s", c.name, got, c.want)
		}
	}
}
