// Package session will hold the ordered, bounded, resumable core that the
// fallback protocols share. For now it declares the settings.
package session

import "time"

// Settings bound one session.
type Settings struct {
	// TTL is how long a session lives with no client attached. Default 60s.
	TTL time.Duration `yaml:"ttl"`
	// Window is the most bytes kept for a client that is away or slow. Default 256 KiB.
	Window int64 `yaml:"window" unit:"bytes"`
	// Overflow says what a full window does: "pause" the backend (the default),
	// or "close" the session with 1013.
	Overflow string `yaml:"overflow"`
	// Identity names the request headers, and "cookie:NAME" cookies, that must
	// stay the same for a session to be resumed. Default Authorization.
	Identity []string `yaml:"identity"`
}
