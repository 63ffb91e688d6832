//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: it measures by epoll and /proc, and needs Linux")
	os.Exit(2)
}
