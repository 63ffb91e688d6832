package resume

import (
	"errors"
	"fmt"
	"time"
)

// Settings configure the protocol on a route.
type Settings struct {
	// Poll is how long a long-poll without news is held; then it is answered
	// empty. Default 25s, at least 1s.
	Poll time.Duration `yaml:"poll"`
	// Rotate is the age at which a streaming response ends and the client asks
	// for the next. Default 55s, at least 1s.
	Rotate time.Duration `yaml:"rotate"`
}

// Default are the settings of a configuration that names none.
func Default() Settings { return Settings{Poll: 25 * time.Second, Rotate: 55 * time.Second} }

// Validate reports what is wrong with s, each fault as "key: what and remedy".
func (s Settings) Validate() error {
	var faults []error
	if s.Poll < time.Second {
		faults = append(faults, fmt.Errorf("poll: %v must be at least 1s", s.Poll))
	}
	if s.Rotate < time.Second {
		faults = append(faults, fmt.Errorf("rotate: %v must be at least 1s", s.Rotate))
	}
	return errors.Join(faults...)
}
