package acme

import (
	"fmt"
	"os"
	"testing"
)

// skip leaves a test out for a reason that test/run shows at its end. Where CI is set
// nothing may be left out.
func skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("left out, which CI does not allow: %s", reason)
	}
	note(t, reason)
	t.Skip(reason)
}

// long leaves a test out of the normal run.
func long(t testing.TB) {
	t.Helper()
	if os.Getenv("E2E_LONG") == "" {
		const reason = "takes too long for every run (./test/run --long)"
		note(t, reason)
		t.Skip(reason)
	}
}

// note appends one line to the list that test/run prints.
func note(t testing.TB, reason string) {
	name := os.Getenv("E2E_SKIPPED")
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "%s: %s\n", t.Name(), reason)
}
