// Package socketio will speak Socket.IO, revision 5, to clients; for now it
// declares the settings.
package socketio

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Settings configure the protocol on a route.
type Settings struct {
	// Path is appended to the route's path and gives the protocol's own. It
	// begins with a slash. Default "/socket.io/".
	Path string `yaml:"path"`
	// Mode says how events and the backend's messages stand for each other.
	// "message", the default and so far the only one: an event called message
	// with one argument is one WebSocket message.
	Mode string `yaml:"mode" enum:"message"`
	// Recovery lets a client that was away come back to its session and get
	// what it missed. Default true.
	Recovery bool `yaml:"recovery"`
	// ConnectTimeout is what a client has to join a namespace; then it is
	// closed. Default 45s; must be positive.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
}

// Default are the settings of a configuration that names none.
func Default() Settings {
	return Settings{Path: "/socket.io/", Mode: "message", Recovery: true, ConnectTimeout: 45 * time.Second}
}

// Validate reports what is wrong with s, each fault as "key: what and remedy".
func (s Settings) Validate() error {
	var faults []error
	if !strings.HasPrefix(s.Path, "/") {
		faults = append(faults, fmt.Errorf("path: %q must begin with /", s.Path))
	}
	if s.Mode != "message" {
		faults = append(faults, fmt.Errorf("mode: %q must be message", s.Mode))
	}
	if s.ConnectTimeout <= 0 {
		faults = append(faults, fmt.Errorf("connect_timeout: %v must be positive", s.ConnectTimeout))
	}
	return errors.Join(faults...)
}
