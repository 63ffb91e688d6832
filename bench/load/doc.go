// Package load makes the traffic of the benchmark and checks it: WebSocket
// clients and the backend they reach through a proxy, all driven by one thread,
// so that they cost less than what stands between them. Linux only.
package load
