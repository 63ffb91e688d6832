package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// built holds the programs that were built, and is removed at the end.
var built string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sidecar-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	built = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// The program: with the race detector for most tests, and as it is released for
// those that measure it.
var (
	raced    = sync.OnceValues(func() (string, error) { return build("raced", nil, "-race") })
	released = sync.OnceValues(func() (string, error) {
		return build("released", []string{"CGO_ENABLED=0"}, "-trimpath", "-ldflags=-X sidecar/server.built=v0.0.0-test")
	})
)

func build(name string, env []string, flags ...string) (string, error) {
	path := filepath.Join(built, name)
	cmd := exec.Command("go", append(append([]string{"build", "-o", path}, flags...), "./cmd/sidecar")...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the program: %w\n%s", err, out)
	}
	return path, nil
}

// must is the path of a program that was built.
func must(t testing.TB, build func() (string, error)) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A program is the real one, in a process of its own.
type program struct {
	addr, ops string
	log       *output
	cmd       *exec.Cmd
	exited    chan struct{} // closed when it has, and cmd.ProcessState is there
}

// startProgram runs the program with these settings before an upstream. It is
// killed at the test's end, if it still runs then.
func startProgram(t testing.TB, upstream, settings string) *program {
	t.Helper()
	return launch(t, must(t, raced), upstream, settings)
}

func launch(t testing.TB, path, upstream, settings string) *program {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sidecar.yaml")
	if err := os.WriteFile(file, []byte(settingsBefore(upstream, "info", settings)), 0o644); err != nil {
		t.Fatal(err)
	}
	return execute(t, exec.Command(path, "--config", file))
}

// execute starts cmd and waits until it serves.
func execute(t testing.TB, cmd *exec.Cmd) *program {
	t.Helper()
	exited := make(chan struct{})
	p := &program{log: &output{ended: exited}, cmd: cmd, exited: exited}
	cmd.Stdout, cmd.Stderr = io.Discard, p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("the program's log:\n%s", tail(p.log.String(), 12))
		}
		if strings.Contains(p.log.String(), "WARNING: DATA RACE") {
			t.Errorf("a race in the program:\n%s", p.log)
		}
	})
	var line struct {
		Listen []string
		Ops    string
	}
	if err := json.Unmarshal([]byte(p.log.line(t, `"msg":"serving"`)), &line); err != nil || len(line.Listen) == 0 {
		t.Fatalf("the line at start says no address: %v", err)
	}
	p.addr, p.ops = line.Listen[0], line.Ops
	return p
}

func (p *program) signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// exit waits for the end and returns the exit code.
func (p *program) exit(t testing.TB, d time.Duration) int {
	t.Helper()
	within(t, d, "the program's exit", p.exited)
	return p.cmd.ProcessState.ExitCode()
}

// rss is the program's resident memory, in bytes.
func (p *program) rss(t testing.TB) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

// newProgramRig is a rig around the real program.
func newProgramRig(t testing.TB, settings string) (*rig, *program) {
	t.Helper()
	var p *program
	r := rigAround(t, func(upstream string) string {
		p = startProgram(t, upstream, settings)
		return p.addr
	})
	return r, p
}

// dial opens a WebSocket that is closed with the test.
func dial(t testing.TB, url string) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{HandshakeTimeout: patience}
	c, resp, err := d.Dial(url, nil)
	if errors.Is(err, websocket.ErrBadHandshake) {
		t.Fatalf("dialing %s: status %d", url, resp.StatusCode)
	}
	if err != nil {
		t.Fatalf("dialing %s: %v", url, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
