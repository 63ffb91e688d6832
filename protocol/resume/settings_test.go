package resume

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
		{"poll", func(s *Settings) { s.Poll = 999e6 }, "poll: 999ms must be at least 1s"},
		{"rotate", func(s *Settings) { s.Rotate = -1 }, "rotate: -1ns must be at least 1s"},
	} {
		s := Default()
		c.change(&s)
		if got := fmt.Sprint(s.Validate()); got != c.want {
			t.Errorf("%s: got %s; want %s", c.name, got, c.want)
		}
	}
}
