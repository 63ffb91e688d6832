package acme

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// A reload gets certificates for the names that are new, and gives none up that lives.
func TestReloadAddsADomain(t *testing.T) {
	t.Parallel()
	a, dir, upstream := newAuthority(t, terms{}), t.TempDir(), serveEcho(t)
	file := write(t, "sidecar.yaml", yaml(upstream, a.settings(dir, "domains: [a.example.test]")+speaking))
	s := execute(t, exec.Command(program(t), "--config", file))
	a.leads(s)
	s.ready(t, patience)
	first := a.served(t, s, "a.example.test")
	s.refuses(t, a, "b.example.test")
	talk := gather(t, s.addr, "a.example.test", a.trusting("a.example.test"))

	text := yaml(upstream, a.settings(dir, "domains: [a.example.test, b.example.test]")+speaking)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.log.line(t, `"msg":"reloaded"`)
	s.ready(t, patience)
	t.Logf("ready %v after the signal, %d orders", time.Since(start).Round(time.Millisecond), a.orders.Load())
	a.served(t, s, "b.example.test")
	if again := a.served(t, s, "a.example.test"); again.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Error("the first name got another certificate")
	}
	talk.leave(t)
	if n := a.orders.Load(); n != 2 {
		t.Errorf("%d orders; want 2", n)
	}
}
