package wire

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The table of types in the specification says what the code does.
func TestSpecificationHasTheTypes(t *testing.T) {
	b, err := os.ReadFile("../../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	spec := string(b)
	for typ := TypeHello; typ.known(); typ++ {
		from := map[side]string{client: "client", server: "server", client | server: "both"}[types[typ].from]
		most := fmt.Sprint(types[typ].most)
		if n := len(most); n > 3 {
			most = most[:n-3] + "," + most[n-3:]
		}
		if row := fmt.Sprintf("| %d | %v | %s | %s |", typ, typ, from, most); strings.Count(spec, row) != 1 {
			t.Errorf("docs/protocol.md does not have the row %q once", row)
		}
	}
	for _, want := range []string{
		"`" + Subprotocol + "`", "`" + NoSubprotocol + "`", "`" + ContentType + "`", "`" + RequestType + "`",
		"`sidecar=stream`", "`sidecar=poll`", "`sidecar=send`", "131,072 bytes", "This is version 1.",
	} {
		if !strings.Contains(spec, want) {
			t.Errorf("docs/protocol.md does not have %s", want)
		}
	}
}

// Sections that are referred to are there, in the specification and in the code.
func TestSpecificationHasItsSections(t *testing.T) {
	b, err := os.ReadFile("../../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ ([0-9.]+?)\.? `).FindAllStringSubmatch(string(b), -1) {
		sections[m[1]] = true
	}
	refs := regexp.MustCompile(`\[([0-9][0-9.]*)\]`).FindAllStringSubmatch(string(b), -1)
	files, _ := os.ReadDir(".")
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		code, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		code = regexp.MustCompile(`RFC [0-9]+ §[0-9.]+`).ReplaceAll(code, nil)
		refs = append(refs, regexp.MustCompile(`§([0-9]+(?:\.[0-9]+)?)`).FindAllStringSubmatch(string(code), -1)...)
	}
	if len(refs) < 40 {
		t.Errorf("%d references are too few", len(refs))
	}
	for _, r := range refs {
		if !sections[r[1]] {
			t.Errorf("section %s is referred to, and not there", r[1])
		}
	}
}
