package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the tests expect of testdata and docs anew")

// testEnv is what ${VAR} in testdata stands for.
var testEnv = []string{"PORT=8080", "COUNT=12", "WORD=fast", "EMPTY="}

func parseFile(t *testing.T, name string) (Config, error) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return newLoader(testEnv).load(filepath.Base(name), b, Source{})
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no files are called %s: %v", pattern, err)
	}
	return names
}

func TestBadFilesHaveExactMessages(t *testing.T) {
	for _, name := range glob(t, "testdata/bad/*.yaml") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			_, err := parseFile(t, name)
			if err == nil {
				t.Fatal("loaded; want faults")
			}
			golden := strings.TrimSuffix(name, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, rerr := os.ReadFile(golden)
			if rerr != nil {
				t.Fatal(rerr)
			}
			if got := err.Error() + "\n"; got != string(want) {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}

func TestGoodFilesLoad(t *testing.T) {
	for _, name := range glob(t, "testdata/good/*.yaml") {
		if _, err := parseFile(t, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
