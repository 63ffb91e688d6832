package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// skip leaves a test out for a reason that test/run shows at its end. Where CI
// is set nothing may be left out.
func skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("left out, which CI does not allow: %s", reason)
	}
	note(t, reason)
	t.Skip(reason)
}

var noting sync.Mutex

// note appends to the list that test/run prints.
func note(t testing.TB, reason string) {
	name := os.Getenv("E2E_SKIPPED")
	if name == "" {
		return
	}
	noting.Lock()
	defer noting.Unlock()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "%s: %s\n", t.Name(), reason)
}

// isLong says that the run may take long.
func isLong() bool { return os.Getenv("E2E_LONG") != "" }

// long leaves a test out of the normal run.
func long(t testing.TB) {
	t.Helper()
	if !isLong() {
		const reason = "takes too long for every run (./test/run --long)"
		note(t, reason)
		t.Skip(reason)
	}
}

// need finds a tool: node (with the packages of test/node), chromium (or what
// CHROMIUM names), or another by its name, in /usr/sbin too. Without it the test is
// left out.
func need(t testing.TB, tool string) string {
	t.Helper()
	switch tool {
	case "node":
		for _, pkg := range append(stockPackages, "ws") {
			if _, err := os.Stat(filepath.Join("node", "node_modules", pkg)); err != nil {
				skip(t, "the packages of test/node are not installed (npm ci --ignore-scripts)")
			}
		}
	case "chromium":
		if path := os.Getenv("CHROMIUM"); path != "" {
			tool = path
		}
	}
	path, err := exec.LookPath(tool)
	if err != nil && filepath.Base(tool) == tool {
		path, err = exec.LookPath(filepath.Join("/usr/sbin", tool))
	}
	if err != nil {
		skip(t, fmt.Sprintf("no %s: %v", tool, err))
	}
	return path
}
