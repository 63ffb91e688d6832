package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// vectorFiles have what clients of the resumable protocol share, whatever their language.
var vectorFiles = filepath.Join("..", "protocol", "resume", "wire", "testdata")

// A codec in JavaScript, written from the specification alone, makes the same of each
// vector. It must have looked at all of them.
func TestVectorsInJavaScript(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("node") // none of its packages is needed
	if err != nil {
		skip(t, err.Error())
	}
	cmd := exec.CommandContext(t.Context(), path, filepath.Join("node", "vectors.mjs"), vectorFiles)
	var wrong strings.Builder
	cmd.Stderr = &wrong
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, wrong.String())
	}
	var got map[string]int
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	for kind, want := range vectorCounts(t) {
		if got[kind] != want || want == 0 {
			t.Errorf("%d of kind %q were read; want %d", got[kind], kind, want)
		}
	}
}

// vectorCounts is how many vectors there are of each kind.
func vectorCounts(t *testing.T) map[string]int {
	t.Helper()
	var all struct {
		Valid, Invalid, Requests, Queries []json.RawMessage
		Cases, Exchanges                  []struct{ Steps []json.RawMessage }
	}
	for _, name := range []string{"frames.json", "requests.json", "assembly.json", "exchanges.json"} {
		b, err := os.ReadFile(filepath.Join(vectorFiles, name))
		if err == nil {
			err = json.Unmarshal(b, &all)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	counts := map[string]int{"valid": len(all.Valid), "invalid": len(all.Invalid), "requests": len(all.Requests), "queries": len(all.Queries)}
	for _, c := range all.Cases {
		counts["assembly"] += len(c.Steps)
	}
	for _, e := range all.Exchanges {
		counts["exchanges"] += len(e.Steps)
	}
	return counts
}
