// Command sidecar stands in front of a plain WebSocket backend.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// Room for a drain, a second signal and a reload that come at once.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	p := program{env: os.Environ(), out: os.Stdout, err: os.Stderr, signals: signals}
	os.Exit(p.run(os.Args[1:]))
}
