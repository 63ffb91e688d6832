package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// One line at start says what is served where.
func TestLineAtStart(t *testing.T) {
	t.Parallel()
	a := serveArrivals(t)
	p := startProgram(t, a.addr, "")
	var line struct {
		Level, Msg, Ops string
		Listen, Routes  []string
	}
	if err := json.Unmarshal([]byte(p.log.line(t, `"msg":"serving"`)), &line); err != nil {
		t.Fatal(err)
	}
	if line.Level != "INFO" || len(line.Routes) != 1 || !strings.Contains(line.Routes[0], a.addr) {
		t.Errorf("got %+v", line)
	}
	if got := ask(t, line.Ops, "GET /livez HTTP/1.1"); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("/livez: %q", got)
	}
	if got := ask(t, line.Ops, "GET /readyz HTTP/1.1"); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("/readyz: %q", got)
	}
}

// TERM and INT drain: clients are told, the exit code is 0.
func TestSignalsDrain(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			r, p := newProgramRig(t, "")
			k := r.open(t, "s", 0)
			k.exchange(t, 10, 1000)
			start := time.Now()
			p.signal(t, sig)
			k.broken(t, 3*time.Second)
			if k.client.code() != 1001 || k.backend.code() != 1001 {
				t.Errorf("closed with %v at the client, %v at the backend; want 1001", k.client.err, k.backend.err)
			}
			if got := p.exit(t, patience); got != 0 {
				t.Errorf("exit code %d; want 0", got)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("exited after %v; want drain.for (1s) and at most a second", took)
			}
			r.wantClean(t)
		})
	}
}

// hanging is a program with a request under way that never ends.
func hanging(t *testing.T, drain string) *program {
	t.Helper()
	arrived, leave := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		close(arrived)
		<-leave
	}))
	t.Cleanup(func() { close(leave); s.Close() })
	p := startProgram(t, s.Listener.Addr().String(), drain)
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET /hang HTTP/1.1\r\nHost: %s\r\n\r\n", p.addr)
	within(t, patience, "the request", arrived)
	return p
}

func TestDrainThatTimesOutExitsWith3(t *testing.T) {
	t.Parallel()
	p := hanging(t, "drain: {for: 1s}")
	start := time.Now()
	p.signal(t, syscall.SIGTERM)
	if got := p.exit(t, patience); got != 3 {
		t.Errorf("exit code %d; want 3", got)
	}
	if took := time.Since(start); took < time.Second || took > 2*time.Second {
		t.Errorf("exited after %v; want drain.for (1s) and at most a second", took)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	p := hanging(t, "drain: {for: 30s}")
	p.signal(t, syscall.SIGTERM)
	p.log.line(t, `"msg":"stopping"`)
	start := time.Now()
	p.signal(t, syscall.SIGTERM)
	if got := p.exit(t, patience); got == 0 {
		t.Error("exit code 0 although a request was cut")
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("exited %v after the second signal; want at most a second", took)
	}
}

// During drain.delay readiness is 503, and clients still come in.
func TestDrainDelayStillTakesClients(t *testing.T) {
	t.Parallel()
	r, p := newProgramRig(t, "drain: {delay: 2s, for: 1s}")
	p.signal(t, syscall.SIGTERM)
	p.log.line(t, `"msg":"stopping"`)
	if got := ask(t, p.ops, "GET /readyz HTTP/1.1"); !strings.HasPrefix(got, "HTTP/1.1 503") {
		t.Errorf("/readyz: %q; want 503", got)
	}
	k := r.open(t, "late", 0)
	k.exchange(t, 10, 1000)
	k.broken(t, patience)
	if k.client.code() != 1001 {
		t.Errorf("the late client got %v; want 1001", k.client.err)
	}
	if got := p.exit(t, patience); got != 0 {
		t.Errorf("exit code %d; want 0", got)
	}
	r.wantClean(t)
}

// HUP reloads: live connections stay where they are, new ones go to the new
// upstream; a faulty file changes nothing and is complained about.
func TestHUPReloads(t *testing.T) {
	t.Parallel()
	one, two := serveArrivals(t), serveArrivals(t)
	p := startProgram(t, one.addr, "")
	file := p.cmd.Args[len(p.cmd.Args)-1]
	rewrite := func(old, new string) {
		t.Helper()
		b, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, []byte(strings.ReplaceAll(string(b), old, new)), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		p.signal(t, syscall.SIGHUP)
	}
	old := dial(t, "ws://"+p.addr+"/?id=old")
	oldBackend := within(t, patience, "the old connection", one.of("old"))
	defer oldBackend.Close()

	rewrite(one.addr, two.addr)
	p.log.line(t, `"msg":"reloaded"`)
	dial(t, "ws://"+p.addr+"/?id=new")
	defer within(t, patience, "a connection at the new upstream", two.of("new")).Close()
	if err := old.WriteMessage(1, []byte("still here")); err != nil {
		t.Fatal(err)
	}
	if _, m, err := oldBackend.ReadMessage(); err != nil || string(m) != "still here" {
		t.Errorf("the old connection brought %q, %v", m, err)
	}

	rewrite("upstream:", "upstraem:")
	if got := p.log.line(t, "upstraem"); !strings.Contains(got, "upstream") {
		t.Errorf("the complaint has no remedy: %s", got)
	}
	dial(t, "ws://"+p.addr+"/?id=after")
	defer within(t, patience, "a connection after a faulty reload", two.of("after")).Close()
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("upstream: ws://127.0.0.1:1\nlimits: {mesage: 1MB}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"version"}, 0, ""},
		{[]string{"--help"}, 0, ""},
		{[]string{"--no-such-flag"}, 2, "no-such-flag"},
		{[]string{"no-such-command"}, 2, "no-such-command"},
		{[]string{"check", "--config", bad}, 2, "bad.yaml:2:10"},
		{[]string{"--config", bad}, 2, "message"},
		{nil, 2, "upstream"}, // nothing says where the backend is
		{[]string{"--upstream", "ws://127.0.0.1:1", "--listen", taken.Addr().String(), "--ops.listen", "off"}, 1, "address already in use"},
	} {
		cmd := exec.Command(must(t, raced), c.args...)
		cmd.Dir = t.TempDir()
		var stderr strings.Builder
		cmd.Stdout, cmd.Stderr = io.Discard, &stderr
		cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != c.code || !strings.Contains(stderr.String(), c.says) {
			t.Errorf("sidecar %q: exit code %d, %q; want %d and %q", c.args, got, stderr.String(), c.code, c.says)
		}
	}
}

// A sidecar that is killed: its clients notice within a second.
func TestKilledSidecarIsNoticed(t *testing.T) {
	t.Parallel()
	r, p := newProgramRig(t, "")
	k := r.open(t, "s", 0)
	k.exchange(t, 10, 1000)
	start := time.Now()
	p.signal(t, syscall.SIGKILL)
	k.broken(t, patience)
	if took := k.client.at.Sub(start); took > time.Second {
		t.Errorf("the client noticed after %v", took)
	}
	r.wantClean(t)
}
