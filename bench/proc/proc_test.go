//go:build linux

package proc

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	line := "4242 (a (b) c 1 2) S 17 4242 17 0 -1 4194560 1 2 3 4 500 600 70 8 20 0 1 0 99 1000 2 18446744073709551615\n"
	got, err := parseStat(line)
	want := stat{pid: 4242, parent: 17, waited: 780 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "1 (x", "1 (x) S 1 2", "1 (x) S y 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"} {
		if got, err := parseStat(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, got)
		}
	}
}

func TestPss(t *testing.T) {
	b := "55e0-7ffd ---p 00000000 00:00 0  [rollup]\nRss:  1500 kB\nPss:   1200 kB\nPss_Dirty:  3 kB\n"
	if got, err := pss([]byte(b)); err != nil || got != 1200<<10 {
		t.Errorf("got %d, %v; want %d", got, err, 1200<<10)
	}
	if got, err := pss([]byte("Rss:  1500 kB\n")); err == nil {
		t.Errorf("a file without Pss was read as %d", got)
	}
}

// burn is a shell that burns, has a child burn that it waits for, and then lives
// on beside another that burns and lives on.
const burn = `i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done
if [ "$1" = deep ]; then sh "$0" shallow; sh "$0" stay & echo done; wait; fi
if [ "$1" = stay ]; then echo done; exec sleep 60; fi`

func TestCPUOfChildrenCounts(t *testing.T) {
	one := burnt(t, "shallow")
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/burn", []byte(burn), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, dir, "sh", dir+"/burn", "deep")
	eventually(t, "the burning", func() bool { return strings.Count(p.said(), "done") == 2 })
	got, err := p.CPU()
	if err != nil {
		t.Fatal(err)
	}
	// Three burn; what varies by half still tells three from two.
	if got < one*5/2 || got > one*5 {
		t.Errorf("three that burn took %v by the account; one takes %v", got, one)
	}
	mem, err := p.Memory()
	if err != nil || mem < 100<<10 || mem > 50<<20 {
		t.Errorf("a shell and its child have %d bytes, %v; want some hundred KiB", mem, err)
	}
}

// burnt is what one that burns takes, by what the kernel says at its end.
func burnt(t *testing.T, how string) time.Duration {
	t.Helper()
	cmd := exec.Command("sh", "-c", burn, "sh", how)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

func start(t *testing.T, dir string, argv ...string) *Process {
	t.Helper()
	cores, err := Cores()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(cores[len(cores)-1], dir, argv...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// eventually gives the processor away until ok says so; at most ten seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not in ten seconds", what)
		}
	}
}

func TestOwnClockRuns(t *testing.T) {
	before, err := clock(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); {
		runtime.Gosched()
	}
	after, err := clock(os.Getpid())
	if d := after - before; err != nil || d < time.Millisecond || d > time.Second {
		t.Errorf("20ms of work took %v by the clock, %v", d, err)
	}
}

func TestChildrenArePinned(t *testing.T) {
	cores, err := Cores()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, t.TempDir(), "sleep", "60")
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("Cpus_allowed_list:\t%d\n", cores[len(cores)-1])
	if !strings.Contains(string(b), want) {
		t.Errorf("no %q in %s", want, b)
	}
	if now, err := Cores(); err != nil || len(now) != len(cores) {
		t.Errorf("this process may now run on %v, %v; before on %v", now, err, cores)
	}
}

func TestReadyTellsOfAnEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	p := start(t, t.TempDir(), "sleep", "60")
	if err := p.Ready(context.Background(), addr, 5*time.Second); err != nil {
		t.Errorf("with a listener: %v", err)
	}
	l.Close()
	ends := start(t, t.TempDir(), "sh", "-c", "echo no such setting; exit 1")
	if err := ends.Ready(context.Background(), addr, 5*time.Second); err == nil || !strings.Contains(err.Error(), "no such setting") {
		t.Errorf("got %v; want what the program said", err)
	}
}
