package acme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sidecar/config"
	"sidecar/server"
)

// patience is how long a test waits for what should come soon.
const patience = 30 * time.Second

// often is how soon a certificate is looked at again where a test has a short one.
// A certificate with less than five times that left is renewed at once.
const often = time.Second

// A sidecar is the program, in a process of its own or in this one.
type sidecar struct {
	addr, plain, ops string // host:port; plain is "" where it is off
	log              *output
	cmd              *exec.Cmd     // nil: in this process
	exited           chan struct{} // closed when it has ended
	end              func()        // asks it to drain
	result           error         // of Run in this process; after exited
}

// built is the program with the race detector, from the module that users build.
var built = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "sidecar")
	cmd := exec.Command("go", "build", "-race", "-o", path, "./cmd/sidecar")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the program: %w\n%s", err, out)
	}
	return path, nil
})

// program is the path of the real program.
func program(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// yaml is a sidecar.yaml for any free ports before the upstream at host:port.
func yaml(upstream, settings string) string {
	return fmt.Sprintf("listen: 127.0.0.1:0\nops: {listen: \"127.0.0.1:0\"}\nupstream: ws://%s\nlog: {level: debug, format: json}\ndrain: {for: 1s}\n%s",
		upstream, settings)
}

// write puts text into a file of the test's.
func write(t testing.TB, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// launch runs the real program with these settings. It is killed at the test's end, if
// it still runs then.
func launch(t testing.TB, upstream, settings string) *sidecar {
	t.Helper()
	return execute(t, exec.Command(program(t), "--config", write(t, "sidecar.yaml", yaml(upstream, settings))))
}

// execute starts cmd and waits until its listeners are there.
func execute(t testing.TB, cmd *exec.Cmd) *sidecar {
	t.Helper()
	s := &sidecar{cmd: cmd, exited: make(chan struct{})}
	s.log = &output{ended: s.exited}
	s.end = func() { _ = cmd.Process.Signal(syscall.SIGTERM) } // it may have gone
	printed := new(output)
	cmd.Stdout, cmd.Stderr = printed, s.log
	terminal, err := cmd.StdinPipe() // nobody types anything: certmagic may ask for an address
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.exited)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-s.exited
		terminal.Close()
		if text := printed.String(); text != "" {
			t.Errorf("the program printed %q", text)
		}
		if strings.Contains(s.log.String(), "WARNING: DATA RACE") {
			t.Errorf("a race in the program:\n%s", s.log)
		}
	})
	s.listening(t)
	return s
}

// boot runs the program in this process, where a renewal is looked for often.
func boot(t testing.TB, upstream, settings string) *sidecar {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(yaml(upstream, settings)))
	if err != nil {
		t.Fatal(err)
	}
	s := &sidecar{log: new(output), exited: make(chan struct{})}
	srv, err := server.Environment{Stderr: s.log, RenewEvery: often}.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.end = cancel
	go func() {
		defer close(s.exited)
		s.result = srv.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-s.exited
		if s.result != nil && !errors.Is(s.result, server.ErrDrain) {
			t.Errorf("running the sidecar: %v", s.result)
		}
	})
	s.listening(t)
	return s
}

// listening reads the addresses from the line that the program prints at its start.
func (s *sidecar) listening(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the sidecar's log:\n%s", s.log)
		}
	})
	var line struct {
		Listen        []string
		Redirect, Ops string
	}
	if err := json.Unmarshal([]byte(s.log.line(t, `"msg":"serving"`)), &line); err != nil || len(line.Listen) == 0 {
		t.Fatalf("the line at start says no address: %v", err)
	}
	s.addr, s.ops = line.Listen[0], line.Ops
	if line.Redirect != "off" {
		s.plain = line.Redirect
	}
}

// stop drains the program and says how long that took.
func (s *sidecar) stop(t testing.TB) time.Duration {
	t.Helper()
	start := time.Now()
	s.end()
	select {
	case <-s.exited:
	case <-time.After(patience):
		t.Fatalf("the program has not ended %v after it was told", patience)
	}
	return time.Since(start)
}

// fetch makes one GET over a connection of its own.
func fetch(t testing.TB, url string) (int, string) {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true}
	c := &http.Client{Transport: tr, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// readiness is what /readyz says.
func (s *sidecar) readiness(t testing.TB) (int, string) {
	t.Helper()
	return fetch(t, "http://"+s.ops+"/readyz")
}

// ready waits until the program is, and says how long that took.
func (s *sidecar) ready(t testing.TB, within time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	var status int
	var text string
	if !eventually(within, func() bool {
		status, text = s.readiness(t)
		return status == http.StatusOK
	}) {
		t.Fatalf("not ready after %v: %d %s", within, status, text)
	}
	return time.Since(start)
}

// eventually asks again and again until that is so, and reports whether it came to be.
func eventually(within time.Duration, so func() bool) bool {
	late := time.NewTimer(within)
	defer late.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-again.C:
		case <-late.C:
			return so()
		}
	}
	return true
}

// metric is the value of a series by its name, labels and all. ok is false without it.
func (s *sidecar) metric(t testing.TB, name string) (value float64, ok bool) {
	t.Helper()
	_, text := fetch(t, "http://"+s.ops+"/metrics")
	for line := range strings.Lines(text) {
		if rest, found := strings.CutPrefix(line, name+" "); found {
			if _, err := fmt.Sscan(rest, &value); err != nil {
				t.Fatalf("reading %q: %v", line, err)
			}
			return value, true
		}
	}
	return 0, false
}

// total is the sum of all series of a counter.
func (s *sidecar) total(t testing.TB, name string) (sum float64) {
	t.Helper()
	_, text := fetch(t, "http://"+s.ops+"/metrics")
	for line := range strings.Lines(text) {
		rest, found := strings.CutPrefix(line, name)
		if !found || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		var value float64
		if _, err := fmt.Sscan(rest[strings.LastIndex(rest, " "):], &value); err != nil {
			t.Fatalf("reading %q: %v", line, err)
		}
		sum += value
	}
	return sum
}
