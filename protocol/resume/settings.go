// Package resume will speak its protocol to clients; for now it declares the settings.
package resume

// Settings configure the protocol on a route.
type Settings struct{}
