package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The clock on the wall jumps for one process alone: its tests are built with a package
// time that adds to what the machine says. The monotonic clock and all timers go on as
// they were, as where a machine's clock is set. See clock_jumped_test.go.
func TestClockJumps(t *testing.T) {
	long(t) // the whole standard library is compiled anew
	cmd := exec.Command("go", "test", "-overlay", jumpingTime(t), "-tags", "clockjump", "-vet=off", "-count=1", "-v", "-run", "^TestJumped", ".")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, tail(string(out), 100))
	}
	for _, name := range []string{"TestJumpedAsMeant", "TestJumpedSessions", "TestJumpedCertificates"} {
		if !strings.Contains(string(out), "--- PASS: "+name+" (") {
			t.Errorf("%s did not run:\n%s", name, tail(string(out), 100))
		}
	}
	t.Log(tail(string(out), 40))
}

// jumpingTime makes an overlay for the go command in which time.Now adds wallJump.
func jumpingTime(t *testing.T) (overlay string) {
	t.Helper()
	source := filepath.Join(runtime.GOROOT(), "src", "time", "time.go")
	b, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, change := range [][2]string{
		{"import (\n", "import (\n\t\"sync/atomic\"\n"},
		{"func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n",
			"//go:linkname wallJump\nvar wallJump int64\n\nfunc Now() Time {\n\tsec, nsec, mono := runtimeNow()\n\tsec += atomic.LoadInt64(&wallJump)\n"},
	} {
		if strings.Count(text, change[0]) != 1 {
			t.Fatalf("%s has no %q, or many: the standard library has changed, and so must this test", source, change[0])
		}
		text = strings.Replace(text, change[0], change[1], 1)
	}
	dir := t.TempDir()
	jumping, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(jumping, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{source: jumping}})
	if err == nil {
		err = os.WriteFile(overlay, list, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return overlay
}
