package test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// instructions are a Dockerfile's, of its last stage, by name; the last wins.
func instructions(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), "\\\n", " ")
	last := map[string]string{}
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "FROM" {
			last = map[string]string{}
		}
		if name != "" && name != "#" {
			last[name] += rest + "\n"
		}
	}
	return last
}

func TestImageIsSmallAndUnprivileged(t *testing.T) {
	in := instructions(t)
	for name, want := range map[string]string{
		"FROM":        `^scratch\n$`,
		"USER":        `^[1-9]\d*:[1-9]\d*\n$`,
		"EXPOSE":      `^8080\n$`,
		"STOPSIGNAL":  `^SIGTERM\n$`,
		"HEALTHCHECK": ` CMD \["/sidecar", "health"\]\n$`,
		"ENTRYPOINT":  `^\["/sidecar"\]\n$`,
		"COPY":        `ca-certificates\.crt`,
	} {
		if !regexp.MustCompile(want).MatchString(in[name]) {
			t.Errorf("%s is %q; want %s", name, in[name], want)
		}
	}
	b, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath", "-X sidecar/server.built=$VERSION"} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("the program is not built with %s", want)
		}
	}
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	built := regexp.MustCompile(`golang:(1\.\d+)`).FindSubmatch(b)
	asked := regexp.MustCompile(`(?m)^go (1\.\d+)`).FindSubmatch(mod)
	if built == nil || asked == nil || !bytes.Equal(built[1], asked[1]) {
		t.Errorf("the image is built by Go %q, the module asks for %q", built, asked)
	}
}

// The program as the image runs it: static, no environment, no home, a directory
// it cannot write to, a user who is nobody.
func TestProgramRunsAsInTheImage(t *testing.T) {
	t.Parallel()
	a := serveArrivals(t)
	dir := open755(t)
	path := filepath.Join(dir, "sidecar")
	copyFile(t, must(t, released), path)
	if out, err := exec.Command("ldd", path).CombinedOutput(); err == nil {
		t.Errorf("the program is not static: %s", out)
	}
	bare := func(args ...string) *exec.Cmd {
		cmd := exec.Command(path, args...)
		cmd.Env, cmd.Dir = []string{}, dir
		if os.Getuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		}
		return cmd
	}
	if out, err := bare("version").CombinedOutput(); !strings.HasPrefix(string(out), "sidecar v0.0.0-test ") {
		t.Errorf("version: %v: %s; want the one it was built with", err, out)
	}
	p := execute(t, bare("--listen", "127.0.0.1:0", "--ops.listen", "127.0.0.1:0", "--upstream", "ws://"+a.addr, "--log.format", "json"))
	c := dial(t, "ws://"+p.addr+"/?id=x")
	defer (<-a.of("x")).Close()
	defer c.Close()
	health := bare("health", "--ops.listen", p.ops)
	if out, err := health.CombinedOutput(); err != nil {
		t.Errorf("health: %v: %s", err, out)
	}
	p.signal(t, syscall.SIGTERM)
	if got := p.exit(t, 12*time.Second); got != 0 {
		t.Errorf("exit code %d; want 0", got)
	}
	if out, err := bare("health", "--ops.listen", p.ops).CombinedOutput(); err == nil {
		t.Errorf("health of a program that has ended: %s", out)
	}
}

// open755 is a temporary directory that any user may enter, but only its owner
// may write to.
func open755(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Every configuration in the examples must pass the program's own check.
func TestExamplesAreChecked(t *testing.T) {
	t.Parallel()
	var texts []string
	for doc := range documents(t, "../examples/compose.yaml") {
		var d struct {
			Configs map[string]struct{ Content string }
		}
		remarshal(t, doc, &d)
		for _, c := range d.Configs {
			texts = append(texts, c.Content)
		}
	}
	for doc := range documents(t, "../examples/kubernetes.yaml") {
		var d struct{ Data map[string]string }
		remarshal(t, doc, &d)
		for _, text := range d.Data {
			texts = append(texts, text)
		}
	}
	whole, err := os.ReadFile("../sidecar.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if texts = append(texts, string(whole)); len(texts) != 3 {
		t.Errorf("found %d configurations; want 3", len(texts))
	}
	for _, text := range texts {
		file := filepath.Join(t.TempDir(), "sidecar.yaml")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(must(t, raced), "check", "--config", file).CombinedOutput(); err != nil {
			t.Errorf("check: %v: %s\n%s", err, out, text)
		}
	}
}

// The pod's stopping must leave the sidecar the time it asks for.
func TestExampleGivesTimeToDrain(t *testing.T) {
	var kinds []string
	for doc := range documents(t, "../examples/kubernetes.yaml") {
		var d struct {
			Kind string
			Spec struct {
				Template struct {
					Spec struct {
						TerminationGracePeriodSeconds int `json:"terminationGracePeriodSeconds"`
						InitContainers                []struct {
							RestartPolicy                               string `json:"restartPolicy"`
							StartupProbe, LivenessProbe, ReadinessProbe map[string]any
						}
					}
				}
			}
		}
		remarshal(t, doc, &d)
		kinds = append(kinds, d.Kind)
		if d.Kind != "Deployment" {
			continue
		}
		pod := d.Spec.Template.Spec
		if pod.TerminationGracePeriodSeconds < 5+10+1 {
			t.Errorf("the pod has %d s to stop in", pod.TerminationGracePeriodSeconds)
		}
		for _, c := range pod.InitContainers {
			if c.RestartPolicy != "Always" || c.StartupProbe == nil || c.LivenessProbe == nil || c.ReadinessProbe == nil {
				t.Errorf("not a native sidecar with probes: %+v", c)
			}
		}
	}
	if want := []string{"ConfigMap", "Deployment", "Service"}; !slices.Equal(kinds, want) {
		t.Errorf("the example makes %q; want %q", kinds, want)
	}
}

// documents yields the YAML documents of a file.
func documents(t *testing.T, name string) func(func(any) bool) {
	return func(yield func(any) bool) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for d := yaml.NewDecoder(bytes.NewReader(b)); ; {
			var doc any
			if err := d.Decode(&doc); err == io.EOF {
				return
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !yield(doc) {
				return
			}
		}
	}
}

// remarshal reads a document into a struct by the names that JSON would have.
func remarshal(t *testing.T, doc, into any) {
	t.Helper()
	b, err := json.Marshal(doc)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}
