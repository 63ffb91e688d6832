package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// clocked are the packages whose times are measured and never told: no session, token or
// deadline of theirs may feel that the clock on the wall was set.
var clocked = []string{"session", "polling", "heartbeat", "protocol/...", "proxy", "access", "loop", "client/resumable"}

// monotonic are the methods of time.Time that go by the monotonic clock, where both sides
// have it: as times of time.Now have, until another method takes it off.
var monotonic = []string{"Add", "Sub", "Before", "After", "Compare", "Equal", "IsZero"}

// told are the places where a time is of the wall's clock, each with why it may be.
var told = map[string]string{
	"polling/answer.go: time.Time.UTC":            "the Date header",
	"polling/answer.go: time.Time.AppendFormat":   "the Date header",
	"client/resumable/keeper.go: time.Time.Round": "looks for a clock that was set, or stood still while the device slept; then the network is checked",
	"proxy/raw.go: time.Unix":                     "a deadline that is long over, by any clock",
	"proxy/relay.go: time.Unix":                   "a deadline that is long over, by any clock",
	"loop/loop_linux.go: time.Unix":               "a deadline that is long over, by any clock",
	"client/resumable/plain.go: time.Unix":        "a deadline that is long over, by any clock",
}

// No arithmetic by the wall's clock, which may jump (TestClockJumps): a time that lost
// its monotonic reading, or never had one, is compared by the wall.
func TestTimesAreMonotonic(t *testing.T) {
	c := newChecking(t)
	used := map[string]bool{}
	for _, p := range c.own {
		for _, f := range p.find(t, c) {
			if used[f.what] = true; told[f.what] == "" {
				t.Errorf("%s: %s, which is of the wall's clock", f.at, f.what)
			}
		}
	}
	for what := range told {
		if !used[what] {
			t.Errorf("%s is no more: take it off the list", what)
		}
	}
	if len(c.own) < 10 {
		t.Errorf("only %d packages were looked at", len(c.own))
	}
}

// What is to be found is found.
func TestTimesOfTheWallAreFound(t *testing.T) {
	c := newChecking(t)
	dir := t.TempDir()
	const source = `package planted
import ("net/http"; "time")
type held struct { time.Time }
func f(a, b time.Time, h held) (x bool) {
	x = a.Round(0).Before(b)
	x = x || a.Unix() > 5 || a.Truncate(time.Hour).After(b) || b.In(time.UTC) == a
	strip := a.UTC
	x = x || strip().Before(time.Unix(9, 0)) || h.Local().Before(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c, _ := http.ParseTime("")
	return x || a.AddDate(0, 0, 1).Before(c) || time.Now().Add(time.Second).Sub(a).Round(time.Second) > time.Since(b)
}`
	if err := os.WriteFile(filepath.Join(dir, "planted.go"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range (&sources{ImportPath: "planted", Dir: dir, GoFiles: []string{"planted.go"}}).find(t, c) {
		got = append(got, strings.TrimPrefix(f.what, "planted/planted.go: "))
	}
	slices.Sort(got)
	want := []string{
		"net/http.ParseTime", "time.Date", "time.Time.AddDate", "time.Time.In", "time.Time.Local", "time.Time.Round",
		"time.Time.Truncate", "time.Time.UTC", "time.Time.Unix", "time.Unix",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %q; want %q", got, want)
	}
}

// A sources is one package as the go command lists it.
type sources struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	Module                  *struct{ Main bool }
	DepOnly                 bool
}

// A checking knows the types of all packages that those of its own import.
type checking struct {
	own    []*sources
	export map[string]string // files with the types, by import path
	set    *token.FileSet
}

func newChecking(t *testing.T) *checking {
	t.Helper()
	args := []string{"list", "-deps", "-export", "-json=ImportPath,Dir,Export,GoFiles,Module,DepOnly"}
	for _, p := range clocked {
		args = append(args, "./"+p)
	}
	cmd := exec.Command("go", append(args, "net/http")...)
	cmd.Dir, cmd.Stderr, cmd.Env = "..", os.Stderr, append(os.Environ(), "GOOS=linux") // as the list of exceptions is
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	c := &checking{export: map[string]string{}, set: token.NewFileSet()}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		p := new(sources)
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			return c
		} else if err != nil {
			t.Fatal(err)
		}
		c.export[p.ImportPath] = p.Export
		if p.Module != nil && p.Module.Main && !p.DepOnly {
			c.own = append(c.own, p)
		}
	}
}

var plain = strings.NewReplacer("(", "", ")", "")

// A finding is a use of the wall's clock.
type finding struct{ at, what string }

// find type-checks p, and finds what it does with times.
func (p *sources) find(t *testing.T, c *checking) (all []finding) {
	t.Helper()
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(c.set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	look := func(path string) (io.ReadCloser, error) { return os.Open(c.export[path]) }
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: importer.ForCompiler(c.set, "gc", look)}
	if _, err := config.Check(p.ImportPath, c.set, files, info); err != nil {
		t.Fatal(err)
	}
	for id, o := range info.Uses {
		if f, ok := o.(*types.Func); ok && tells(f) {
			at := c.set.Position(id.Pos())
			what := fmt.Sprintf("%s/%s: %s", strings.TrimPrefix(p.ImportPath, "sidecar/"), filepath.Base(at.Filename), plain.Replace(f.FullName()))
			all = append(all, finding{at.String(), what})
		}
	}
	return all
}

// tells reports whether a function of another module's has to do with the wall's clock.
func tells(f *types.Func) bool {
	s := f.Signature()
	if r := s.Recv(); r != nil && isTime(r.Type()) {
		return !slices.Contains(monotonic, f.Name())
	}
	if f.Pkg() == nil || strings.HasPrefix(f.Pkg().Path(), "sidecar/") {
		return false
	}
	if full := f.FullName(); full == "time.Now" || full == "(context.Context).Deadline" {
		return false
	}
	for v := range s.Results().Variables() {
		if isTime(v.Type()) {
			return true
		}
	}
	return false
}

func isTime(t types.Type) bool {
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	return types.TypeString(t, nil) == "time.Time"
}
