// Package admin is what operators see: health, readiness and metrics, on a
// listener of its own.
package admin

// Settings configure the ops listener.
type Settings struct {
	// Listen is host:port, unix:/path, or "off". Default "127.0.0.1:9090".
	Listen string `yaml:"listen"`
	// CheckUpstream makes readiness depend on the backends: each is dialled, at
	// most once a second, and /readyz is 503 while one cannot be reached. Default
	// false: a sidecar that is up but whose app is not should still say so to clients.
	CheckUpstream bool `yaml:"check_upstream"`
}
