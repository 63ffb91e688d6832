// Package sockjs will speak SockJS, version 0.3.3, to clients; for now it
// declares the settings.
package sockjs

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Settings configure the protocol on a route.
type Settings struct {
	// Path is appended to the route's path and gives the base URL: "", the
	// default, or one that begins with a slash.
	Path string `yaml:"path"`
	// WebSocket lets clients use that transport. false makes them fall back.
	// Default true.
	WebSocket bool `yaml:"websocket"`
	// Cookie sets JSESSIONID, for load balancers that stick by it. Default false.
	Cookie bool `yaml:"cookie"`
	// ResponseLimit is the most bytes that a streaming response carries before
	// it ends and the client asks for the next. Default 128 KiB, at least 1.
	ResponseLimit int64 `yaml:"response_limit" unit:"bytes"`
	// Heartbeat is the silence after which an h frame is sent. Default 25s; must be positive.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// DisconnectDelay is how long a session lives with no receiver. Default 5s; must be positive.
	DisconnectDelay time.Duration `yaml:"disconnect_delay"`
	// Iframe serves the page that old browsers put into a frame to cross
	// origins. Default false.
	Iframe bool `yaml:"iframe"`
}

// Default are the settings of a configuration that names none.
func Default() Settings {
	return Settings{
		WebSocket:       true,
		ResponseLimit:   128 << 10,
		Heartbeat:       25 * time.Second,
		DisconnectDelay: 5 * time.Second,
	}
}

// Validate reports what is wrong with s, each fault as "key: what and remedy".
func (s Settings) Validate() error {
	var faults []error
	if s.Path != "" && !strings.HasPrefix(s.Path, "/") {
		faults = append(faults, fmt.Errorf("path: %q must be empty or begin with /", s.Path))
	}
	if s.ResponseLimit < 1 {
		faults = append(faults, fmt.Errorf("response_limit: %d must be at least 1 byte", s.ResponseLimit))
	}
	if s.Heartbeat <= 0 {
		faults = append(faults, fmt.Errorf("heartbeat: %v must be positive", s.Heartbeat))
	}
	if s.DisconnectDelay <= 0 {
		faults = append(faults, fmt.Errorf("disconnect_delay: %v must be positive", s.DisconnectDelay))
	}
	return errors.Join(faults...)
}
