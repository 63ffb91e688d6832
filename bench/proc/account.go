//go:build linux

package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A stat is what is needed of a line of /proc/<pid>/stat.
type stat struct {
	pid, parent int
	waited      time.Duration // user and system time of children that it waited for
}

// userHZ is what the kernel counts times in towards programs, on every platform
// that Go runs on.
const userHZ = 100

// parseStat reads such a line (proc_pid_stat(5)). The name in parentheses may
// hold anything, parentheses and spaces too.
func parseStat(line string) (stat, error) {
	end := strings.LastIndexByte(line, ')')
	if end < 0 {
		return stat{}, fmt.Errorf("reading %q: it has no name", line)
	}
	pid, _, _ := strings.Cut(line, " ")
	f := strings.Fields(line[end+1:]) // from the third on
	if len(f) < 15 {
		return stat{}, fmt.Errorf("reading %q: it has too few fields", line)
	}
	var n [4]int
	for i, s := range []string{pid, f[1], f[13], f[14]} { // pid, ppid, cutime, cstime
		v, err := strconv.Atoi(s)
		if err != nil {
			return stat{}, fmt.Errorf("reading %q: %w", line, err)
		}
		n[i] = v
	}
	return stat{pid: n[0], parent: n[1], waited: time.Duration(n[2]+n[3]) * time.Second / userHZ}, nil
}

// tree is root and all its descendants that live.
func tree(root int) ([]stat, error) {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]stat{}
	var all []stat
	for _, name := range names {
		line, err := os.ReadFile(name)
		if err != nil {
			continue // it ended meanwhile
		}
		s, err := parseStat(string(line))
		if err != nil {
			return nil, err
		}
		children[s.parent] = append(children[s.parent], s)
		if s.pid == root {
			all = append(all, s)
		}
	}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i].pid]...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("process %d has ended", root)
	}
	return all, nil
}

func (p *Process) pids() ([]int, error) {
	all, err := tree(p.Pid())
	pids := make([]int, len(all))
	for i, s := range all {
		pids[i] = s.pid
	}
	return pids, err
}

// Pids are p and all that it started, as perf takes them: by commas.
func (p *Process) Pids() (string, error) {
	pids, err := p.pids()
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(pids), " ", ","), "[]"), err
}

// CPU is the user and system time that p, its children and theirs have taken,
// those that ended and were waited for included.
func (p *Process) CPU() (time.Duration, error) {
	all, err := tree(p.Pid())
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, s := range all {
		t, err := clock(s.pid)
		if err != nil {
			return 0, err
		}
		sum += t + s.waited
	}
	return sum, nil
}

// clock is the time that all threads of a process have run, ended ones too: the
// same account as utime and stime of /proc/<pid>/stat, in nanoseconds instead of
// hundredths of a second. The number is clock_getcpuclockid(3)'s.
func clock(pid int) (time.Duration, error) {
	const sched = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|sched, &t); err != nil {
		return 0, fmt.Errorf("reading the clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// Memory is what p, its children and theirs have resident, in bytes. Pages that
// several of them share count once.
func (p *Process) Memory() (int64, error) {
	pids, err := p.pids()
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		n, err := pss(b)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// pss is the proportional set size of a smaps_rollup file, in bytes
// (proc_pid_smaps(5)).
func pss(b []byte) (int64, error) {
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) != 3 || string(f[0]) != "Pss:" || string(f[2]) != "kB" {
			continue
		}
		n, err := strconv.ParseInt(string(f[1]), 10, 64)
		return n << 10, err
	}
	return 0, fmt.Errorf("reading %q: it has no Pss", b)
}
