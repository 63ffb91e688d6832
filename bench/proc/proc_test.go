//go:build linux

package proc

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
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

func TestParseMachine(t *testing.T) {
	busy, stolen, err := parseMachine([]byte("cpu  100 20 3 4000 500 6 7 80 900 900\ncpu0 1 1 1 1 1 1 1 1 1 1\n"))
	if err != nil || busy != 1360*time.Millisecond || stolen != 800*time.Millisecond {
		t.Errorf("busy %v, stolen %v, %v; want 1.36s and 800ms", busy, stolen, err)
	}
	for _, bad := range []string{"", "cpu0 1 2 3 4 5 6 7 8\n", "cpu 1 2 3\n", "cpu 1 2 3 4 5 6 7 x\n"} {
		if busy, _, err := parseMachine([]byte(bad)); err == nil {
			t.Errorf("%q was read as %v", bad, busy)
		}
	}
}

func TestOwnWorkIsNoNoise(t *testing.T) {
	w, err := NewWatch()
	if err != nil || w.cores < 1 {
		t.Fatalf("%d processors, %v", w.cores, err)
	}
	for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
		runtime.Gosched()
	}
	now, err := NewWatch()
	if own := now.own - w.own; err != nil || own < 10*time.Millisecond {
		t.Errorf("100ms of work are %v of this process, %v", own, err)
	}
	if others, stolen, err := w.Noise(); err != nil || others < 0 || others > 1.2 || stolen < 0 || stolen > 1.2 {
		t.Errorf("others took %v and the host %v of all, %v", others, stolen, err)
	}
}

// burn burns, has a child burn that it waits for, and then lives on beside
// another that burned and lives on. Each prints its own line of the kernel's.
const burn = `i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done
cat /proc/$$/stat
if [ "$1" = deep ]; then sh "$0" shallow; sh "$0" stay & wait; fi
if [ "$1" = stay ]; then exec sleep 60; fi`

func TestCPUOfChildrenCounts(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/burn", []byte(burn), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, dir, "sh", dir+"/burn", "deep")
	eventually(t, "the burning", func() bool { return strings.Count(p.said(), "\n") == 3 })
	want := time.Duration(0)
	for line := range strings.Lines(p.said()) {
		own := ownTime(t, line)
		if want += own; own < 20*time.Millisecond {
			t.Fatalf("it burns %v: too little to be missed", own)
		}
	}
	got, err := p.CPU()
	// The kernel's lines are in hundredths, rounded down; starting cat and sleep
	// is in none of them.
	if slack := 40 * time.Millisecond; err != nil || got < want-slack || got > want+want/2+slack {
		t.Errorf("three that burned took %v by the account, %v; %v by their own", got, err, want)
	}
	mem, err := p.Memory()
	if err != nil || mem < 100<<10 || mem > 50<<20 {
		t.Errorf("a shell and its child have %d bytes, %v; want some hundred KiB", mem, err)
	}
}

// ownTime is utime and stime of a line of /proc/<pid>/stat.
func ownTime(t *testing.T, line string) time.Duration {
	t.Helper()
	f := strings.Fields(line)
	if len(f) < 15 {
		t.Fatalf("%q is no line of stat", line)
	}
	u, errU := strconv.Atoi(f[13])
	s, errS := strconv.Atoi(f[14])
	if errU != nil || errS != nil {
		t.Fatalf("%q is no line of stat", line)
	}
	return time.Duration(u+s) * 10 * time.Millisecond
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
