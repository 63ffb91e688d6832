package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A nodeBackend is a server made of the ws package, in a process of its own.
type nodeBackend struct {
	addr string // host:port
	cmd  *exec.Cmd
}

// startNode starts test/node/backend.mjs. It ends with the test.
func startNode(t testing.TB) *nodeBackend {
	t.Helper()
	cmd := exec.Command(need(t, "node"), filepath.Join("node", "backend.mjs"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe() // its end ends the process, should ours be killed
	if err != nil {
		t.Fatal(err)
	}
	log := new(output)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		io.Copy(io.Discard, out)
		cmd.Wait()
		if t.Failed() && log.String() != "" {
			t.Logf("the backend's errors:\n%s", log)
		}
	})
	var started struct{ Port int }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &started)
	}
	if err != nil {
		t.Fatalf("starting the backend: %v: %q %s", err, line, log)
	}
	return &nodeBackend{fmt.Sprintf("127.0.0.1:%d", started.Port), cmd}
}

// node runs a script of test/node to its end and returns what it printed.
func node(t testing.TB, script string, args ...string) []byte {
	t.Helper()
	return nodeIn(t, nil, script, args...)
}

// nodeIn is node with more variables, each as NAME=value.
func nodeIn(t testing.TB, env []string, script string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), need(t, "node"), append([]string{filepath.Join("node", script)}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		stderr := ""
		if e, ok := err.(*exec.ExitError); ok {
			stderr = string(e.Stderr)
		}
		t.Fatalf("running %s: %v\n%s\n%s", script, err, out, stderr)
	}
	return out
}
