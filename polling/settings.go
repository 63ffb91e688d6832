package polling

import "fmt"

// minBody leaves room for the smallest useful request of every protocol.
const minBody = 1 << 10

// Limits bound what one request may bring.
type Limits struct {
	// Body is the most bytes a request body of a fallback transport may have;
	// larger ones get 413. HTTP pass-through streams and has no such bound.
	// Default 1 MB, at least 1 KiB.
	Body int64 `yaml:"body" unit:"bytes"`
}

// DefaultLimits are the limits of a configuration that names none.
func DefaultLimits() Limits { return Limits{Body: 1e6} }

// Validate reports what is wrong with l, each fault as "key: what and remedy".
func (l Limits) Validate() error {
	if l.Body < minBody {
		return fmt.Errorf("body: %d must be at least %d bytes", l.Body, minBody)
	}
	return nil
}
