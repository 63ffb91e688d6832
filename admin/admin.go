// Package admin is what operators see: health, readiness and metrics, on a
// listener of its own.
package admin

import "errors"

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

// Validate reports what is wrong with s as "key: what and remedy". The address is
// judged with those that clients come to.
func (s Settings) Validate() error {
	if s.Off() && s.CheckUpstream {
		return errors.New("check_upstream: true needs an ops listener, but listen is off")
	}
	return nil
}
