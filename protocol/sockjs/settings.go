// Package sockjs will speak its protocol to clients; for now it declares the settings.
package sockjs

// Settings configure the protocol on a route.
type Settings struct{}
