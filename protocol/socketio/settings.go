// Package socketio will speak its protocol to clients; for now it declares the settings.
package socketio

// Settings configure the protocol on a route.
type Settings struct{}
