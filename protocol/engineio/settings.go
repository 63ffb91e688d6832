// Package engineio will speak its protocol to clients; for now it declares the settings.
package engineio

// Settings configure the protocol on a route.
type Settings struct{}
