package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tracked is the text files under version control, and those about to be.
func tracked(t *testing.T) map[string][]byte {
	t.Helper()
	cmd := exec.Command(need(t, "git"), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		skip(t, "this is no git work tree")
	}
	files := map[string][]byte{}
	for name := range strings.SplitSeq(strings.Trim(string(out), "\x00"), "\x00") {
		b, err := os.ReadFile(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue // removed, but not yet committed
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b, []byte{0}) {
			files[name] = b
		}
	}
	if len(files) < 20 {
		t.Fatalf("only %d files are tracked", len(files))
	}
	return files
}

// A file must not depend on the machine it was made on. The patterns are put
// together from parts, so that this file is not one of their finds.
func TestNoPlacesOfOneMachine(t *testing.T) {
	bad := regexp.MustCompile(strings.Join([]string{
		"registry" + `\.npm`, "registry" + `\.yarn`, "proxy" + `\.golang`, "sum" + `\.golang`, "deb" + `\.debian`,
		"/wor" + "k/", "/tm" + "p/[a-z]+/", "/roo" + "t/", "/hom" + "e/[a-z]+/",
	}, "|"))
	for name, b := range tracked(t) {
		if filepath.Base(name) == "go.sum" {
			continue
		}
		for i, line := range strings.Split(string(b), "\n") {
			if m := bad.FindString(line); m != "" {
				t.Errorf("%s:%d: names %q", name, i+1, m)
			}
		}
	}
}

// A link within the documents leads to a file that is there, and to one of its headings.
func TestLinksOfTheFiles(t *testing.T) {
	files := tracked(t)
	link, found := regexp.MustCompile(`\]\(([^)\s#]*)(?:#([^)\s]*))?\)`), 0
	for name, b := range files {
		if filepath.Ext(name) != ".md" {
			continue
		}
		for _, m := range link.FindAllSubmatch(b, -1) {
			to, heading := filepath.Join(filepath.Dir(name), string(m[1])), string(m[2])
			if len(m[1]) == 0 {
				to = name
			}
			if text, there := files[to]; !there {
				t.Errorf("%s: there is no %s", name, m[1])
			} else if heading != "" && !anchors(text)[heading] {
				t.Errorf("%s: %s has no heading %q", name, to, heading)
			}
			found++
		}
	}
	if found < 20 {
		t.Errorf("only %d links were found", found)
	}
}

// anchors are a document's headings as links name them.
func anchors(text []byte) map[string]bool {
	all := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllSubmatch(text, -1) {
		plain := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(string(m[1])), "")
		all[strings.ReplaceAll(plain, " ", "-")] = true
	}
	return all
}

func TestGoFilesAreFormatted(t *testing.T) {
	cmd := exec.Command(need(t, "gofmt"), "-l", ".")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("gofmt -l: %v\n%s", err, out)
	}
}

func TestLockFileHasNoAddresses(t *testing.T) {
	b, err := os.ReadFile("node/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{`"resolved"`, "://"} {
		if bytes.Contains(b, []byte(field)) {
			t.Errorf("the lock file contains %s; make it with npm install --omit-lockfile-registry-resolved", field)
		}
	}
	if !bytes.Contains(b, []byte(`"integrity"`)) {
		t.Error("the lock file has no checksums")
	}
	manifest, err := os.ReadFile("node/package.json")
	if err != nil {
		t.Fatal(err)
	}
	if loose := regexp.MustCompile(`"[\^~><*]`).Find(manifest); loose != nil {
		t.Error("package.json has versions that are not exact")
	}
}

func TestNoLongFiles(t *testing.T) {
	const most = 400
	for name, b := range tracked(t) {
		switch filepath.Ext(name) {
		case ".go", ".js", ".mjs", ".css", ".html", "":
		default:
			continue
		}
		if n := bytes.Count(b, []byte("\n")); n > most {
			t.Errorf("%s has %d lines; want at most %d", name, n, most)
		}
	}
}
