package server

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// leave makes the socket file of a killed process.
func leave(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
}

func TestListenTakesAStaleSocketsPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	leave(t, path)
	l, err := listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after Close the file is still there: %v", err)
	}
	if err := l.Close(); err == nil {
		t.Error("a second Close said nothing")
	}
}

func TestListenRefusesWhatIsNotStale(t *testing.T) {
	dir := t.TempDir()
	file, used := filepath.Join(dir, "file"), filepath.Join(dir, "used")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := listen("unix:" + used)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, want := range map[string]string{file: "is no socket", used: "is in use", dir + "/no/s": "no such file"} {
		if _, err := listen("unix:" + path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v; want %q", path, err, want)
		}
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Error("the file was harmed")
	}
}

func TestCloseLeavesASuccessorsSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old, err := listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next, err := listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	_ = old.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the successor's socket went with the old one: %v", err)
	}
	_ = c.Close()
}

func TestBudget(t *testing.T) {
	for _, c := range []struct{ files, listeners, sockets int }{
		{1024, 1, 443}, {20000, 1, 9836}, {4096, 2, 1964},
	} {
		b, err := budgetOf(c.files, c.listeners)
		if err != nil || b.sockets != c.sockets {
			t.Errorf("%d files: %d sockets, %v; want %d", c.files, b.sockets, err, c.sockets)
		}
		if most := 2*b.sockets + b.reserve; most > c.files {
			t.Errorf("%d files: %d could be needed", c.files, most)
		}
	}
	if _, err := budgetOf(130, 1); err == nil || !strings.Contains(err.Error(), "raise it") {
		t.Errorf("130 files: got %v; want an error with the remedy", err)
	}
}

func TestRaise(t *testing.T) {
	n, err := raise()
	if err != nil {
		t.Fatal(err)
	}
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		t.Fatal(err)
	}
	if r.Cur != r.Max {
		t.Errorf("soft limit is %d; want the hard one, %d", r.Cur, r.Max)
	}
	if n != int(min(r.Cur, 1<<22)) {
		t.Errorf("raise = %d; want %d", n, r.Cur)
	}
}
