// Command sidecar stands in front of a plain WebSocket backend.
package main

import "os"

func main() {
	p := program{env: os.Environ(), out: os.Stdout, err: os.Stderr}
	os.Exit(p.run(os.Args[1:]))
}
