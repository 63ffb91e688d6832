package engineio

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Settings configure the protocol on a route.
type Settings struct {
	// Path is appended to the route's path and gives the protocol's own. It
	// begins with a slash. Default "/engine.io/".
	Path string `yaml:"path"`
	// PingInterval is the time from one ping of ours to the next. Default 25s; must be positive.
	PingInterval time.Duration `yaml:"ping_interval"`
	// PingTimeout is what the client has to answer in; then it is lost. Default 20s; must be positive.
	PingTimeout time.Duration `yaml:"ping_timeout"`
	// UpgradeTimeout is what a change from polling to WebSocket may take; then
	// the WebSocket is closed and polling goes on. Default 10s; must be positive.
	UpgradeTimeout time.Duration `yaml:"upgrade_timeout"`
	// MaxPayload is the most bytes of one polling body and one message; a larger
	// one is refused. Clients are told. Default 1 MB, at least 1 KiB.
	MaxPayload int64 `yaml:"max_payload" unit:"bytes"`
	// Cookie sends the session's id as the cookie io too, for load balancers
	// that stick by it. Default false.
	Cookie bool `yaml:"cookie"`
}

// Default are the settings of a configuration that names none.
func Default() Settings {
	return Settings{
		Path:           "/engine.io/",
		PingInterval:   25 * time.Second,
		PingTimeout:    20 * time.Second,
		UpgradeTimeout: 10 * time.Second,
		MaxPayload:     1e6,
	}
}

// Validate reports what is wrong with s, each fault as "key: what and remedy".
func (s Settings) Validate() error {
	var faults []error
	if !strings.HasPrefix(s.Path, "/") {
		faults = append(faults, fmt.Errorf("path: %q must begin with /", s.Path))
	}
	for _, f := range []struct {
		key string
		val time.Duration
	}{{"ping_interval", s.PingInterval}, {"ping_timeout", s.PingTimeout}, {"upgrade_timeout", s.UpgradeTimeout}} {
		if f.val <= 0 {
			faults = append(faults, fmt.Errorf("%s: %v must be positive", f.key, f.val))
		}
	}
	if s.MaxPayload < 1<<10 {
		faults = append(faults, fmt.Errorf("max_payload: %d must be at least 1024 bytes", s.MaxPayload))
	}
	return errors.Join(faults...)
}
