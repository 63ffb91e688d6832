package acme

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A disk that is full. Here it is a limit on the size of the program's files, of no
// byte at all, which can be lifted while it runs: files can be made and not written.
func TestStorageFull(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, terms{})
	file := write(t, "sidecar.yaml", yaml(serveEcho(t), a.settings(t.TempDir(), "domains: [a.example.test]")))
	s := execute(t, exec.Command("sh", "-c", `ulimit -S -f 0 && exec "$0" --config "$1"`, program(t), file))
	a.leads(s)
	s.missing(t, "a.example.test", "file too large")
	s.failed(t, "file too large")
	if n := a.asked.Load(); n > 0 {
		t.Errorf("%d orders for what could not be kept", n)
	}
	var limit unix.Rlimit
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_FSIZE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = limit.Max
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	t.Logf("ready %v after there was room", s.ready(t, 100*time.Second))
	a.served(t, s, "a.example.test")
}

// A directory that must not be written: not at its first use, and not once it holds a
// certificate, which is served then.
func TestStorageReadOnly(t *testing.T) {
	t.Parallel()
	a, dir := newAuthority(t, terms{}), shared(t)
	storage := filepath.Join(dir, "storage")
	if err := os.Mkdir(storage, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sidecar.yaml")
	roots := filepath.Join(dir, "roots.pem")
	copyFile(t, a.roots, roots)
	a.roots = roots
	if err := os.WriteFile(file, []byte(yaml(serveEcho(t), a.settings(storage, "domains: [a.example.test]"))), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func() *sidecar {
		cmd := exec.Command(program(t), "--config", file)
		cmd.SysProcAttr = held()
		s := execute(t, cmd)
		a.leads(s)
		return s
	}

	own(t, storage, 0o500)
	s := run()
	s.missing(t, "a.example.test", "permission denied")
	s.failed(t, "permission denied")
	if n := a.asked.Load(); n > 0 {
		t.Errorf("%d orders for what could not be kept", n)
	}
	own(t, storage, 0o700)
	t.Logf("ready %v after it could be written", s.ready(t, 100*time.Second).Round(time.Millisecond))
	s.drains(t)

	own(t, storage, 0o500)
	s = run()
	t.Logf("ready %v after the next start, from what is stored", s.ready(t, patience).Round(time.Millisecond))
	a.served(t, s, "a.example.test")
	if n := a.orders.Load(); n != 1 {
		t.Errorf("%d orders; want 1", n)
	}
	own(t, storage, 0o700) // so that it can be removed
}

// A storage that can be none is a fault of the configuration.
func TestStorageIsNoDirectory(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, terms{})
	plain := write(t, "file", "")
	for _, storage := range []string{plain, filepath.Join(plain, "below")} {
		file := write(t, "sidecar.yaml", yaml("127.0.0.1:1", a.settings(storage, "domains: [a.example.test]")))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, program(t), "--config", file)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(string(out), "tls.storage") {
			t.Errorf("storage %q: exit code %d, %q; want 2 and a word on tls.storage", filepath.Base(storage), code, out)
		}
		t.Logf("%s", out)
	}
}

// held makes a program run as a user who is held to the modes of files, which the
// superuser is not.
func held() *syscall.SysProcAttr {
	if os.Getuid() != 0 {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

const nobody = 65534

// shared is a directory of the test's that such a program reaches.
func shared(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{scratch, filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// own gives all below dir to that user, and sets the mode of directories.
func own(t testing.TB, dir string, mode fs.FileMode) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && os.Getuid() == 0 {
			err = os.Chown(path, nobody, nobody)
		}
		if err == nil && d.IsDir() {
			err = os.Chmod(path, mode)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
