package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sidecar/config"
)

// try runs the program within the process, in an empty directory.
func try(t *testing.T, env []string, args ...string) (code int, out, err string) {
	t.Helper()
	t.Chdir(t.TempDir())
	var o, e bytes.Buffer
	p := program{env: env, out: &o, err: &e}
	code = p.run(args)
	return code, o.String(), e.String()
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sidecar.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommands(t *testing.T) {
	good := write(t, "upstream: ws://127.0.0.1:1\n")
	bad := write(t, "upstraem: ws://127.0.0.1:1\nlimits: {mesage: 1MB}\n")
	for _, c := range []struct {
		name     string
		args     string
		env      []string
		code     int
		out, err string // what is in them
	}{
		{"nothing at all", "", nil, 2, "", "sidecar --upstream ws://127.0.0.1:9000"},
		{"a variable without an upstream", "", []string{"SIDECAR_LISTEN=:0"}, 2, "", "upstream"},
		{"help", "help", nil, 0, "Exit codes:", ""},
		{"--help", "--help", nil, 0, "Exit codes:", ""},
		{"-h", "-h", nil, 0, "Signals:", ""},
		{"help of a command", "help health", nil, 0, "sidecar health [--config FILE]", ""},
		{"settings of a command", "help health", nil, 0, "too: sidecar run --help\n", ""},
		{"help of run", "run --help", nil, 0, "--heartbeat.interval (20s)", ""},
		{"help of demo", "demo -h", nil, 0, "--once", ""},
		{"help of nothing", "help nothing", nil, 2, "", `no command "nothing"`},
		{"unknown command", "serve", nil, 2, "", `no command "serve"; see sidecar help`},
		{"unknown flag", "--upstraem ws://x", nil, 2, "", "there is no flag --upstraem; did you mean"},
		{"unknown flag of run", "run --nonsense-flag", nil, 2, "", "there is no flag --nonsense-flag"},
		{"flag without a value", "run --upstream", nil, 2, "", "needs an argument"},
		{"check of a file that is not there", "check --upstream.url wss://127.0.0.1:1 --upstream.ca /nowhere.pem", nil, 2, "", "route /: reading upstream.ca: open /nowhere.pem"},
		{"check of a port", "check --upstream ws://127.0.0.1:99999", nil, 2, "", "has a port that is not 1 to 65535"},
		{"a boolean apart", "check --config " + good + " --ops.check_upstream false", nil, 2, "", `takes no argument "false"; write it behind the flag: --KEY=false`},
		{"an argument too many", "check " + good + " --config x", nil, 2, "", "check takes no argument"},
		{"check good", "check --config " + good, nil, 0, "is good: 1 route(s)", ""},
		{"check bad tells all", "check --config " + bad, nil, 2, "", "limits.mesage"},
		{"run bad", "run --config " + bad, nil, 2, "", "upstraem"},
		{"missing file", "check --config none.yaml", nil, 2, "", "none.yaml"},
		{"config", "config --config " + good, nil, 0, "upstream: ws://127.0.0.1:1", ""},
		{"config of flags over variables", "config --upstream ws://a:2", []string{"SIDECAR_UPSTREAM=ws://a:1", "SIDECAR_DRAIN_FOR=7s"}, 0, "ws://a:2", ""},
		{"schema", "schema", nil, 0, `"$schema"`, ""},
		{"version", "version", nil, 0, "sidecar ", ""},
		{"--version", "--version", nil, 0, "sidecar ", ""},
		{"--version --json", "--version --json", nil, 0, `{"version":`, ""},
		{"health without ops", "health --upstream ws://a:1 --ops.listen off", nil, 2, "", "ops.listen is off"},
		{"health without a port", "health --upstream ws://a:1 --ops.listen 127.0.0.1:0", nil, 2, "", "no fixed port"},
		{"demo at a bad address", "demo --listen nonsense", nil, 2, "", "listen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, err := try(t, c.env, strings.Fields(c.args)...)
			if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(err, c.err) {
				t.Errorf("exit code %d, out %q, err %q; want %d, %q, %q", code, out, err, c.code, c.out, c.err)
			}
			if (code == 0) != (err == "") {
				t.Errorf("exit code %d with err %q", code, err)
			}
		})
	}
}

func TestHelpHasEveryCommandAndSetting(t *testing.T) {
	_, all, _ := try(t, nil, "help")
	for _, c := range commands() {
		if !strings.Contains(all, "\n    "+c.name+" ") {
			t.Errorf("help does not tell of %s", c.name)
		}
		if code, one, _ := try(t, nil, c.name, "--help"); c.name != "help" && (code != 0 || !strings.HasPrefix(one, "sidecar "+c.name+": ")) {
			t.Errorf("sidecar %s --help: %d, %q", c.name, code, one)
		}
	}
	_, run, _ := try(t, nil, "run", "--help")
	for _, k := range config.Keys() {
		if got := strings.Contains(run, "--"+k.Name+" ") || strings.Contains(run, "--"+k.Name+"\n"); got == k.Planned {
			t.Errorf("help of run tells of %s: %v; want %v", k.Name, got, !k.Planned)
		}
	}
}

func TestConfigPrintsWhatLoadsAgain(t *testing.T) {
	_, out, _ := try(t, nil, "config", "--upstream", "ws://127.0.0.1:1", "--drain.for", "3s")
	code, again, err := try(t, nil, "config", "--config", write(t, out))
	if code != 0 || again != out {
		t.Errorf("printed settings load to others: %d %s\n%s\nwere\n%s", code, err, again, out)
	}
}

func TestVersionAsJSON(t *testing.T) {
	_, out, _ := try(t, nil, "version", "--json")
	var v struct{ Version, Go string }
	if err := json.Unmarshal([]byte(out), &v); err != nil || v.Version == "" || !strings.HasPrefix(v.Go, "go1") {
		t.Errorf("%q: %+v, %v", out, v, err)
	}
}

func TestHealth(t *testing.T) {
	status := http.StatusOK
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte("[-] serving: the program is stopping\n"))
	})
	ops := httptest.NewServer(h)
	defer ops.Close()
	socket := filepath.Join(t.TempDir(), "ops")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	onSocket := httptest.NewUnstartedServer(h)
	onSocket.Listener = l
	onSocket.Start()
	defer onSocket.Close()
	_, port, _ := net.SplitHostPort(ops.Listener.Addr().String())
	listens := []string{ops.Listener.Addr().String(), "0.0.0.0:" + port, ":" + port, "unix:" + socket}
	for _, status = range []int{200, 503} {
		want := exitOK
		if status != 200 {
			want = exitFail
		}
		for _, listen := range listens {
			code, _, err := try(t, []string{"SIDECAR_OPS_LISTEN=" + listen}, "health", "--upstream", "ws://a:1")
			if code != want || strings.Contains(err, "stopping") != (want != exitOK) {
				t.Errorf("%s answering %d: exit code %d, %q; want %d", listen, status, code, err, want)
			}
		}
	}
	// As in a container, whose upstream is in arguments that health is not given.
	if code, _, err := try(t, nil, "health", "--ops.listen", listens[0]); code != exitFail || !strings.Contains(err, "503") {
		t.Errorf("without an upstream: exit code %d, %q; want 1 and the answer", code, err)
	}
	if code, _, err := try(t, nil, "health", "--ops.listen", listens[0], "--drain.for", "soon"); code != exitUsage || !strings.Contains(err, "upstream") || !strings.Contains(err, "drain.for") {
		t.Errorf("with another fault: exit code %d, %q; want 2 and all faults", code, err)
	}
	if code, _, err := try(t, nil, "health", "--upstream", "ws://a:1", "--ops.listen", "127.0.0.1:1"); code != exitFail || !strings.Contains(err, "refused") {
		t.Errorf("nobody there: exit code %d, %q", code, err)
	}
}

func TestDemoOnce(t *testing.T) {
	code, out, err := try(t, nil, "demo", "--once")
	if code != 0 || err != "" || !slices.ContainsFunc(strings.Split(out, "\n"), func(l string) bool { return strings.HasSuffix(l, " 0 failed") }) {
		t.Errorf("exit code %d, %q\n%s", code, err, out)
	}
}
