package config

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// load parses args as cmd/sidecar does and loads.
func load(t *testing.T, env []string, args ...string) (Config, error) {
	t.Helper()
	src := Source{Env: env}
	fs := flag.NewFlagSet("sidecar", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	src.Flags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatalf("parsing %q: %v", args, err)
	}
	return Load(src)
}

// write puts a file into a directory of its own that becomes the working one.
func write(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

func TestPrecedence(t *testing.T) {
	file := "upstream: ws://127.0.0.1:9000\nheartbeat: {interval: 3s}\n"
	env := []string{"SIDECAR_HEARTBEAT_INTERVAL=2s"}
	flags := []string{"--heartbeat.interval", "1s"}
	up := "--upstream=ws://127.0.0.1:9000"
	for _, c := range []struct {
		name string
		file string
		env  []string
		args []string
		want time.Duration
	}{
		{"defaults", "", nil, []string{up}, 20 * time.Second},
		{"file", file, nil, nil, 3 * time.Second},
		{"variable over file", file, env, nil, 2 * time.Second},
		{"flag over variable and file", file, env, flags, time.Second},
		{"flag over file", file, nil, flags, time.Second},
		{"flag over variable", "", env, append(flags, up), time.Second},
		{"an empty variable is none", file, []string{"SIDECAR_HEARTBEAT_INTERVAL="}, nil, 3 * time.Second},
		{"the last flag counts", file, nil, append(flags, "--heartbeat.interval=4s"), 4 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, "sidecar.yaml", c.file)
			got, err := load(t, c.env, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			if got.Heartbeat.Interval != c.want {
				t.Errorf("interval %v; want %v", got.Heartbeat.Interval, c.want)
			}
			if want := 10 * time.Second; got.Heartbeat.Timeout != want {
				t.Errorf("timeout %v; want the default %v beside it", got.Heartbeat.Timeout, want)
			}
		})
	}
}

func TestWhichFileIsRead(t *testing.T) {
	write(t, "sidecar.yaml", "upstream: ws://here\n")
	other := filepath.Join(t.TempDir(), "other.yaml")
	third := filepath.Join(t.TempDir(), "third.yaml")
	for name, host := range map[string]string{other: "other", third: "third"} {
		if err := os.WriteFile(name, []byte("upstream: ws://"+host+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		env       []string
		args      []string
		file, url string
	}{
		{nil, nil, "sidecar.yaml", "ws://here"},
		{[]string{"SIDECAR_CONFIG=" + other}, nil, other, "ws://other"},
		{[]string{"SIDECAR_CONFIG=" + other}, []string{"--config", third}, third, "ws://third"},
	} {
		got, err := load(t, c.env, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		if got.File != c.file || got.Upstream.URL != c.url {
			t.Errorf("read %q with %s; want %q with %s", got.File, got.Upstream.URL, c.file, c.url)
		}
	}
}

func TestNoFileIsNeeded(t *testing.T) {
	t.Chdir(t.TempDir())
	got, err := load(t, nil, "--upstream", "ws://localhost:9000")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Upstream.URL = "ws://localhost:9000"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestFaultsOutsideTheFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("big.yaml", bytes.Repeat([]byte("# x\n"), maxFile/4+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("dir", 0o700); err != nil {
		t.Fatal(err)
	}
	const up = "--upstream=ws://127.0.0.1:9000"
	for _, c := range []struct {
		name string
		env  []string
		args []string
		want []string
	}{
		{"nothing at all", nil, nil, []string{
			"upstream: none is set; name the backend, as in --upstream ws://127.0.0.1:9000"}},
		{"a flag's value", nil, []string{up, "--heartbeat.interval=fast"}, []string{
			`--heartbeat.interval: "fast" is not a duration; write it like 500ms, 20s or 1m30s`}},
		{"a flag's value that is no good", nil, []string{up, "--heartbeat.interval=1ms"}, []string{
			`--heartbeat.interval: 1ms must be 0s (off) or at least 50ms`}},
		{"a flag's list", nil, []string{up, "--listen", ":1,x"}, []string{
			`--listen: listen[1]: "x" is neither host:port nor unix:/path`}},
		{"a flag with an empty upstream", nil, []string{"--upstream="}, []string{
			`--upstream: upstream.url: an upstream needs a url, such as ws://127.0.0.1:9000`}},
		{"routes in a flag", nil, []string{"--routes=[{path: a, upstream: 'ws://a'}]"}, []string{
			`--routes: routes[0].path: "a" must begin with /`}},
		{"bad YAML in a flag", nil, []string{up, "--origins=[a: b: c]"}, []string{
			`--origins: "[a: b: c]" is not YAML: did not find expected ',' or ']'`}},
		{"a variable's value", []string{"SIDECAR_LOG_LEVEL=inof"}, []string{up}, []string{
			`SIDECAR_LOG_LEVEL: log.level: "inof" must be debug, info, warn or error; did you mean info?`}},
		{"a variable with bytes", []string{"SIDECAR_TLS_CA=\xff"}, []string{up}, []string{
			`SIDECAR_TLS_CA: tls.ca: "\xff" is not UTF-8`}},
		{"an unknown variable", []string{"SIDECAR_UPSTRAEM=x", "SIDECAR_HEARTBEAT=x", "SIDECAR_NONSENSE="}, []string{up}, []string{
			"SIDECAR_HEARTBEAT: is the variable of no key; did you mean SIDECAR_HEARTBEAT_INTERVAL or SIDECAR_HEARTBEAT_TIMEOUT?",
			"SIDECAR_NONSENSE: is the variable of no key",
			"SIDECAR_UPSTRAEM: is the variable of no key; did you mean SIDECAR_UPSTREAM?"}},
		{"a key to come", []string{"SIDECAR_SOCKETIO_MODE=message"}, []string{up, "--sockjs.cookie"}, []string{
			"SIDECAR_SOCKETIO_MODE: socketio.mode: is not in this version of sidecar; remove it",
			"--sockjs.cookie: is not in this version of sidecar; remove it"}},
		{"a secret is not told", []string{"SIDECAR_TLS_EAB_MAC=s3cret\xff"}, []string{up}, []string{
			"SIDECAR_TLS_EAB_MAC: tls.eab.mac: the value is not UTF-8"}},
		{"a file that is not there", nil, []string{"--config=nowhere.yaml"}, []string{
			"--config: reading the configuration: open nowhere.yaml: no such file or directory"}},
		{"the variable's file that is not there", []string{"SIDECAR_CONFIG=nowhere.yaml"}, []string{"--log.level=x"}, []string{
			"SIDECAR_CONFIG: reading the configuration: open nowhere.yaml: no such file or directory",
			`--log.level: "x" must be debug, info, warn or error`}},
		{"a directory", nil, []string{"--config=dir"}, []string{
			"--config: reading the configuration: read dir: is a directory"}},
		{"a large file", nil, []string{"--config=big.yaml"}, []string{
			"big.yaml: is larger than 1 MiB; is it the right file?"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.env, c.args...)
			if got, want := fmt.Sprint(err), strings.Join(c.want, "\n"); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestSocketOfAWeakerSource(t *testing.T) {
	write(t, "sidecar.yaml", "upstream:\n  socket: /run/app.sock\n")
	_, err := load(t, nil, "--upstream=ws://127.0.0.1:9000")
	want := `sidecar.yaml:2:11: upstream.socket: "/run/app.sock" would take the place of the host in --upstream; remove one of them`
	if got := fmt.Sprint(err); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got, err := load(t, nil, "--upstream=ws://127.0.0.1:9000", "--upstream.socket=")
	if err != nil || got.Upstream.Socket != "" {
		t.Errorf("an empty flag left the socket %q, error %v", got.Upstream.Socket, err)
	}
}

func TestKubernetesVariablesPass(t *testing.T) {
	t.Chdir(t.TempDir())
	env := []string{
		"SIDECAR_SERVICE_HOST=10.0.0.1", "SIDECAR_SERVICE_PORT=80", "SIDECAR_SERVICE_PORT_WS=80",
		"SIDECAR_PORT=tcp://10.0.0.1:80", "SIDECAR_PORT_80_TCP=tcp://10.0.0.1:80", "SIDECAR_PORT_80_TCP_ADDR=10.0.0.1",
		"SIDECAR_OPS_SERVICE_HOST=10.0.0.2", "SIDECAR_OPS_PORT_9090_TCP_PROTO=tcp",
	}
	if _, err := load(t, env, "--upstream=ws://127.0.0.1:9000"); err != nil {
		t.Error(err)
	}
}

func TestListsOutsideTheFile(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		env  []string
		args []string
		want []string
	}{
		{[]string{"SIDECAR_LISTEN=:1"}, nil, []string{":1"}},
		{[]string{"SIDECAR_LISTEN=:1, [::1]:2"}, nil, []string{":1", "[::1]:2"}},
		{[]string{"SIDECAR_LISTEN=[::1]:2"}, nil, []string{"[::1]:2"}},
		{[]string{`SIDECAR_LISTEN=[":1", ":2"]`}, nil, []string{":1", ":2"}},
		{[]string{"SIDECAR_LISTEN=:1"}, []string{"--listen=:2", "--listen=:3,:4"}, []string{":2", ":3", ":4"}},
	} {
		got, err := load(t, c.env, append(c.args, "--upstream=ws://127.0.0.1:9000")...)
		if err != nil || !slices.Equal(got.Listen, c.want) {
			t.Errorf("%q %q: listen %q, error %v; want %q", c.env, c.args, got.Listen, err, c.want)
		}
	}
}

func TestFlagsOfEveryKind(t *testing.T) {
	t.Chdir(t.TempDir())
	got, err := load(t, nil, "--upstream={url: 'wss://a', ca: roots.pem}", "--upstream.server_name=b",
		"--trusted_proxies=10.0.0.0/8", "--proxy_protocol", "--limits.connections=off", "--limits.message", "64KiB",
		"--log.level=debug", "--routes=[{path: /x, upstream: 'ws://x'}]")
	if err != nil {
		t.Fatal(err)
	}
	if u := got.Upstream; u.URL != "wss://a" || u.CA != "roots.pem" || u.ServerName != "b" {
		t.Errorf("upstream %+v", u)
	}
	if !got.ProxyProtocol || got.Limits.Access.Connections != -1 || got.Limits.Proxy.Message != 64<<10 || got.Log.Level.String() != "DEBUG" {
		t.Errorf("got %+v", got)
	}
	routes := got.AllRoutes()
	if len(routes) != 2 || routes[0].Path != "/x" || routes[0].Limits.Proxy.Message != 64<<10 {
		t.Errorf("routes %+v; want /x, which inherits the flag's limit, and the upstream's", routes)
	}
}

// A dollar in a flag or a variable stands for itself: the shell has expanded it.
func TestOnlyTheFileIsExpanded(t *testing.T) {
	t.Chdir(t.TempDir())
	got, err := load(t, []string{"SIDECAR_UPSTREAM_CA=${HOME}", "SIDECAR_UPSTREAM_SERVER_NAME=a$$b"}, "--upstream=wss://a")
	if err != nil || got.Upstream.CA != "${HOME}" || got.Upstream.ServerName != "a$$b" {
		t.Errorf("got %+v, %v; want the text unchanged", got.Upstream, err)
	}
}

func TestLoadAgainReadsTheFileAnew(t *testing.T) {
	name := write(t, "sidecar.yaml", "upstream: ws://one\n")
	src := Source{File: name}
	for _, want := range []string{"ws://one", "ws://two"} {
		if err := os.WriteFile(name, []byte("upstream: "+want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := Load(src); err != nil || c.Upstream.URL != want {
			t.Errorf("got %q, %v; want %q", c.Upstream.URL, err, want)
		}
	}
}
