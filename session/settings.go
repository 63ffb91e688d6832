package session

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// minWindow holds at least a few messages of the common kind.
const minWindow = 4 << 10

// Settings bound one session.
type Settings struct {
	// TTL is how long a session lives with no client attached; then the backend's
	// connection is closed with 1001. Default 60s; must be positive.
	TTL time.Duration `yaml:"ttl"`
	// Window is the most bytes kept for a client that is away or slow; Overflow
	// says what happens beyond. Default 256 KiB, at least 4 KiB.
	Window int64 `yaml:"window" unit:"bytes"`
	// Overflow says what a full window does: "pause" the backend (the default),
	// which is then not read until the client has caught up or TTL is over, or
	// "close" the session with 1013.
	Overflow string `yaml:"overflow" enum:"pause,close"`
	// Identity names the request headers, and "cookie:NAME" cookies, that must
	// stay the same for a session to be resumed; a request with another identity
	// is told that the session is unknown. Default Authorization.
	Identity []string `yaml:"identity"`
}

// Default are the settings of a configuration that names none.
func Default() Settings {
	return Settings{TTL: time.Minute, Window: 256 << 10, Overflow: "pause", Identity: []string{"Authorization"}}
}

// Validate reports what is wrong with s, each fault as "key: what and remedy".
func (s Settings) Validate() error {
	var faults []error
	if s.TTL <= 0 {
		faults = append(faults, fmt.Errorf("ttl: %v must be positive", s.TTL))
	}
	if s.Window < minWindow {
		faults = append(faults, fmt.Errorf("window: %d must be at least %d bytes", s.Window, minWindow))
	}
	if s.Overflow != "pause" && s.Overflow != "close" {
		faults = append(faults, fmt.Errorf("overflow: %q must be pause or close", s.Overflow))
	}
	for i, name := range s.Identity {
		if err := checkIdentity(name); err != nil {
			faults = append(faults, fmt.Errorf("identity[%d]: %w", i, err))
		}
	}
	return errors.Join(faults...)
}

// token is what RFC 9110 section 5.6.2 lets a header or a cookie be called.
var token = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

func checkIdentity(name string) error {
	bare := strings.TrimPrefix(name, "cookie:")
	switch {
	case strings.EqualFold(name, "cookie"):
		return fmt.Errorf("%q changes as cookies come and go; name one, as cookie:NAME", name)
	case !token.MatchString(bare):
		return fmt.Errorf("%q is neither a header's name nor cookie:NAME", name)
	}
	return nil
}
