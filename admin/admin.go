// Package admin is what operators see: health, readiness and metrics, on a
// listener of its own.
package admin

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Settings configure the ops listener.
type Settings struct {
	// Listen is host:port, unix:/path, or "off". Default "127.0.0.1:9090".
	Listen string `yaml:"listen"`
	// CheckUpstream makes readiness depend on the backends: each is dialled, at
	// most once a second, and /readyz is 503 while one cannot be reached. Default
	// false: a sidecar that is up but whose app is not should still say so to clients.
	CheckUpstream bool `yaml:"check_upstream"`
}

// Default are the settings of a configuration that names none.
func Default() Settings { return Settings{Listen: "127.0.0.1:9090"} }

// Off reports whether there is to be no ops listener.
func (s Settings) Off() bool { return s.Listen == "off" }

// Validate reports what is wrong with s, each fault as "key: what and remedy".
func (s Settings) Validate() error {
	var faults []error
	if err := checkListen(s.Listen); err != nil {
		faults = append(faults, fmt.Errorf("listen: %w", err))
	}
	if s.Off() && s.CheckUpstream {
		faults = append(faults, errors.New("check_upstream: true needs an ops listener, but listen is off"))
	}
	return errors.Join(faults...)
}

func checkListen(s string) error {
	if s == "off" {
		return nil
	}
	if path, unix := strings.CutPrefix(s, "unix:"); unix {
		if path == "" {
			return fmt.Errorf("%q names no path; write unix:/path", s)
		}
		return nil
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf(`%q must be host:port, unix:/path or off`, s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q has no port between 0 and 65535", s)
	}
	return nil
}
