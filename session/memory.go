package session

import "fmt"

// Memory bounds what the sessions of all routes and protocols hold together.
type Memory struct {
	// Limit is the most bytes, as Sessions.Held counts them; -1: none. At the bound
	// whoever would open a session is refused, and each session that lives is given
	// one message at a time. Default 256 MiB, at least 1 MiB.
	Limit int64 `yaml:"limit" unit:"bytes" off:"-1"`
	// Evict makes room for a new session by ending those whose clients have been
	// away for longest. Default false: the new one is refused.
	Evict bool `yaml:"evict"`
}

// minMemory holds some hundred sessions, or one with a wide window.
const minMemory = 1 << 20

// DefaultMemory is the bound of a configuration that names none.
func DefaultMemory() Memory { return Memory{Limit: 256 << 20} }

// Validate reports what is wrong with m as "key: what and remedy".
func (m Memory) Validate() error {
	if m.Limit != -1 && m.Limit < minMemory {
		return fmt.Errorf("limit: %d must be at least %d bytes, or off for no bound", m.Limit, minMemory)
	}
	return nil
}
