package main

import (
	"bufio"
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
	"sync"
	"syscall"
	"testing"
	"time"
)

const patience = 15 * time.Second

// binary is the program, built once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sidecar")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sidecar")
	out, err := exec.Command("go", "build", "-race", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// A process is the built program, serving.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string // of its log
	addr  string
	ended chan error
}

func serve(t *testing.T, file string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(path, "--config", file), lines: make(chan string, 1000), ended: make(chan error, 1)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for s := bufio.NewScanner(stderr); s.Scan(); {
			p.lines <- s.Text()
		}
		close(p.lines)
		p.ended <- p.cmd.Wait()
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	var banner struct{ Listen []string }
	if err := json.Unmarshal([]byte(p.line(`"msg":"serving"`)), &banner); err != nil || len(banner.Listen) != 1 {
		t.Fatalf("the banner: %v, %v", banner, err)
	}
	p.addr = banner.Listen[0]
	return p
}

// line waits for a log line with text in it.
func (p *process) line(text string) string {
	p.t.Helper()
	late := time.After(patience)
	for {
		select {
		case l, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("it ended without a line with %s", text)
			}
			if strings.Contains(l, text) {
				return l
			}
		case <-late:
			p.t.Fatalf("no line with %s", text)
		}
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exit is the exit code, and how long it took.
func (p *process) exit() (int, time.Duration) {
	p.t.Helper()
	start := time.Now()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatal("it goes on")
	}
	return p.cmd.ProcessState.ExitCode(), time.Since(start)
}

// hold leaves a request under way that no backend ever answers.
func (p *process) hold(entered <-chan struct{}) {
	p.t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		p.t.Fatal(err)
	}
	<-entered
}

// stuck is a backend that never answers, and a sidecar's settings before it.
func stuck(t *testing.T, length string) (file string, entered chan struct{}) {
	t.Helper()
	entered = make(chan struct{}, 1)
	release := make(chan struct{})
	b := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-release
	}))
	t.Cleanup(func() {
		close(release)
		b.Close()
	})
	return write(t, settings(b.URL)+"drain: {for: "+length+"}\n"), entered
}

func settings(upstream string) string {
	return "listen: 127.0.0.1:0\nops: {listen: \"127.0.0.1:0\"}\nlog: {format: json}\nupstream: " + upstream + "\n"
}

func TestTermAndInterruptEndWell(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := serve(t, write(t, settings("ws://127.0.0.1:1")))
		p.signal(sig)
		if code, took := p.exit(); code != exitOK || took > 2*time.Second {
			t.Errorf("%v: exit code %d after %v; want 0, soon", sig, code, took)
		}
	}
}

func TestADrainThatTimesOutSaysSo(t *testing.T) {
	file, entered := stuck(t, "1s")
	p := serve(t, file)
	p.hold(entered)
	p.signal(syscall.SIGTERM)
	if code, took := p.exit(); code != exitDrain || took < 900*time.Millisecond || took > 2*time.Second {
		t.Errorf("exit code %d after %v; want 3 after 1s to 2s", code, took)
	}
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	file, entered := stuck(t, "1h")
	p := serve(t, file)
	p.hold(entered)
	p.signal(syscall.SIGTERM)
	p.line(`"msg":"stopping"`)
	p.signal(syscall.SIGINT)
	if code, took := p.exit(); code != exitFail || took > time.Second {
		t.Errorf("exit code %d after %v; want 1 within 1s", code, took)
	}
}

func TestHangupReloads(t *testing.T) {
	app := func(name string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }))
		t.Cleanup(s.Close)
		return s
	}
	one, two := app("one"), app("two")
	file := write(t, settings(one.URL))
	p := serve(t, file)
	p.want("one")
	p.rewrite(file, "upstraem: x\nlimits: {mesage: 1}\n")
	for _, key := range []string{"upstraem", "limits.mesage"} {
		p.line(`"fault":"` + file + map[string]string{"upstraem": ":1:1: ", "limits.mesage": ":2:10: "}[key] + key)
	}
	p.want("one")
	p.rewrite(file, settings(two.URL)+"limits: {header_timeout: 9s}\n")
	p.line(`"msg":"reloaded"`)
	p.line(`"keys":"limits.header_timeout"`)
	p.want("two")
	p.signal(syscall.SIGTERM)
	if code, _ := p.exit(); code != exitOK {
		t.Errorf("exit code %d; want 0", code)
	}
}

func (p *process) rewrite(file, text string) {
	p.t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
}

// want asks for / and wants the answer.
func (p *process) want(body string) {
	p.t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != body {
		p.t.Errorf("got %q, %v; want %q", b, err, body)
	}
}

func TestLateSignalsDoNotChangeTheExitCode(t *testing.T) {
	for _, late := range []os.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		p := serve(t, write(t, settings("ws://127.0.0.1:1")))
		p.signal(syscall.SIGTERM)
		for p.line(`"msg":"stopped"`); p.cmd.Process.Signal(late) == nil; {
		}
		if code, _ := p.exit(); code != exitOK {
			t.Errorf("exit code %d with %v at the end; want 0", code, late)
		}
	}
}

// A reload that cannot end must not keep the program from ending.
func TestAReloadThatHangsHoldsNothingUp(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "one") }))
	t.Cleanup(app.Close)
	file := write(t, settings(app.URL))
	p := serve(t, file)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		p.signal(syscall.SIGHUP)
		p.want("one")
	}
	p.signal(syscall.SIGTERM)
	if code, took := p.exit(); code != exitOK || took > 2*time.Second {
		t.Errorf("exit code %d after %v; want 0, soon", code, took)
	}
}

func TestAnAddressInUseIsAFailure(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	code, _, text := try(t, nil, "--upstream", "ws://127.0.0.1:1", "--ops.listen", "off", "--listen", l.Addr().String())
	if code != exitFail || !strings.Contains(text, "address already in use") {
		t.Errorf("exit code %d, %q; want 1", code, text)
	}
	code, _, text = try(t, nil, "demo", "--listen", l.Addr().String())
	if code != exitFail || !strings.Contains(text, "another address can be given by --listen") {
		t.Errorf("demo: exit code %d, %q; want 1 and the remedy", code, text)
	}
}
