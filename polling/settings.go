// Package polling will carry sessions over plain HTTP responses, for clients
// whose network lets no WebSocket through. For now it declares the settings.
package polling

// Limits bound what one request may bring.
type Limits struct {
	// Body is the most bytes a request body of a fallback transport may have;
	// larger ones get 413. HTTP pass-through streams and has no such bound.
	// Default 1 MB.
	Body int64 `yaml:"body" unit:"bytes"`
}
