package resume

// A Lobby is where sessions of all routes are opened. Its zero value is ready.
type Lobby struct{}
