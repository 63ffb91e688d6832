package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const (
	docs     = "../docs/configuration.md"
	keysHead = "\n## Keys\n\n"
)

// The reference of keys is written from the structs and the descriptions:
// go test ./config -run TestReference -update.
func TestReferenceOfKeys(t *testing.T) {
	b, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	prose, got, found := strings.Cut(string(b), keysHead)
	if !found {
		t.Fatalf("%s has no heading %q", docs, strings.TrimSpace(keysHead))
	}
	want := reference()
	if *update {
		if err := os.WriteFile(docs, []byte(prose+keysHead+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("%s is not what the code says; run go test ./config -run TestReference -update\ngot:\n%s\nwant:\n%s", docs, got, want)
	}
}

// reference is a table of the top level's keys, one of a route's, and one of
// each section.
func reference() string {
	var b strings.Builder
	b.WriteString("| key | default | |\n|---|---|---|\n")
	var sections []field
	c := reflect.ValueOf(Default())
	for _, f := range fieldsOf(c.Type()) {
		if isSection(f.typ) {
			sections = append(sections, f)
		}
		if _, isShort := short(f.typ); !isSection(f.typ) || isShort {
			row(&b, f.key, c.FieldByIndex(f.index), f)
		}
	}
	b.WriteString("\n### routes\n\n| key | default | |\n|---|---|---|\n")
	row(&b, "routes.path", reflect.ValueOf("/"), field{})
	row(&b, "routes.host", reflect.ValueOf(""), field{})
	row(&b, "routes.upstream", reflect.ValueOf(""), field{})
	for _, f := range sections {
		fmt.Fprintf(&b, "\n### %s\n\n%s", f.key, describe(f.key))
		if planned(f.key) {
			b.WriteString(" Not in this version.")
		}
		b.WriteString("\n\n| key | default | |\n|---|---|---|\n")
		rows(&b, f.key, c.FieldByIndex(f.index))
	}
	return b.String()
}

func rows(b *strings.Builder, path string, v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		name, val := join(path, f.key), v.FieldByIndex(f.index)
		if isSection(f.typ) {
			rows(b, name, val)
			continue
		}
		row(b, name, val, f)
	}
}

func row(b *strings.Builder, name string, v reflect.Value, f field) {
	what := describe(name)
	if _, leaf, nested := cutLast(name); nested && leaf != "" && planned(name) && !planned(parent(name)) {
		what += " Not in this version."
	}
	byDefault := ""
	if s := defaultText(v, f); s != "" {
		byDefault = "`" + s + "`"
	}
	fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, byDefault, what)
}

// What the prose says of bounds and of what is missing must stay true.
func TestReferenceNamesWhatIsPlanned(t *testing.T) {
	b, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	_, missing, _ := strings.Cut(string(b), "## What is not in this version")
	missing, _, _ = strings.Cut(missing, "\n## ")
	for _, word := range append(append([]string{}, plannedKeys...), later...) {
		if !strings.Contains(missing, "`"+word+"`") {
			t.Errorf("%s is not named as missing in %s", word, docs)
		}
	}
}

// Each configuration that the documents show is one.
func TestSnippetsOfTheDocs(t *testing.T) {
	names, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, rest := range strings.Split(string(b), "\n```yaml\n")[1:] {
			text, _, _ := strings.Cut(rest, "\n```")
			if !strings.Contains(text, "upstream:") {
				text += "\nupstream: ws://127.0.0.1:9000"
			}
			if _, err := Parse(fmt.Sprintf("%s, snippet %d", name, i+1), []byte(text)); err != nil {
				t.Error(err)
			}
			found++
		}
	}
	if found < 8 {
		t.Errorf("only %d snippets were found", found)
	}
}
