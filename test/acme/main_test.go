package acme

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// scratch holds the program that was built, and is removed at the end.
var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sidecar-acme-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	scratch = dir
	// pebble takes these from its environment: no pauses before a validation, one nonce
	// in twenty refused, and each order validated anew.
	for name, value := range map[string]string{"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "5", "PEBBLE_AUTHZREUSE": "0"} {
		os.Setenv(name, value)
	}
	// They wait for most of their time, and need no processor each.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	if code == 0 && !settled() {
		code = 1
	}
	os.Exit(code)
}
