package demo

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// stock is where npm puts the package that the page's client comes from.
const stock = "../test/node/node_modules/engine.io-client"

// The client of the page is the stock one, unchanged but for the line that names
// its source map, and its licence is beside it.
func TestStockClientIsUnchanged(t *testing.T) {
	ours, err := fs.ReadFile(pageFiles, "page/vendor/engine.io.min.js")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`Engine\.IO v(\S+)`).FindSubmatch(ours)
	if version == nil || bytes.Contains(ours, []byte("sourceMappingURL")) {
		t.Fatalf("version %q, or a source map is named", version)
	}
	manifest, err := os.ReadFile(filepath.Join(stock, "package.json"))
	if err != nil {
		t.Skip("engine.io-client is not installed (npm ci --ignore-scripts, in test/node)")
	}
	var p struct{ Version string }
	if err := json.Unmarshal(manifest, &p); err != nil {
		t.Fatal(err)
	}
	if p.Version != string(version[1]) {
		t.Skipf("version %s is installed; the page has %s", p.Version, version[1])
	}
	theirs, err := os.ReadFile(filepath.Join(stock, "dist", "engine.io.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	theirs = regexp.MustCompile(`(?m)^//# sourceMappingURL=.*\n`).ReplaceAll(theirs, nil)
	if !bytes.Equal(ours, theirs) {
		t.Errorf("%d bytes that differ from the package's %d", len(ours), len(theirs))
	}
	for _, pair := range [][2]string{{"page/vendor/engine.io-client.LICENSE.txt", "LICENSE"}} {
		ours, err := fs.ReadFile(pageFiles, pair[0])
		if err != nil {
			t.Fatal(err)
		}
		if theirs, err := os.ReadFile(filepath.Join(stock, pair[1])); err != nil || !bytes.Equal(ours, theirs) {
			t.Errorf("%s differs from the package's %s, %v", pair[0], pair[1], err)
		}
	}
}
