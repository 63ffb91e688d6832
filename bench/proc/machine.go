//go:build linux

package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Watch tells what else a machine did while something was measured.
type Watch struct {
	start        time.Time
	busy, stolen time.Duration
	own          time.Duration
	cores        int // of the machine, whichever this process may run on
}

// NewWatch begins to watch.
func NewWatch() (Watch, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return Watch{}, err
	}
	w := Watch{start: time.Now(), cores: bytes.Count(b, []byte("\ncpu"))}
	if w.busy, w.stolen, err = parseMachine(b); err != nil {
		return Watch{}, err
	}
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			return Watch{}, err
		}
		w.own += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return w, nil
}

// Noise is which part of all processors others took since w was made, and which
// part the host of a virtual machine gave to others; 0 to 1. What this process
// started counts as its own once it has ended.
func (w Watch) Noise() (others, stolen float64, err error) {
	now, err := NewWatch()
	if err != nil {
		return 0, 0, err
	}
	all := float64(now.start.Sub(w.start)) * float64(now.cores)
	others = float64((now.busy-w.busy)-(now.own-w.own)) / all
	return max(others, 0), float64(now.stolen-w.stolen) / all, nil
}

// parseMachine reads the first line of /proc/stat (proc_stat(5)): the time that
// all processors were busy, and that which the host took.
func parseMachine(b []byte) (busy, stolen time.Duration, err error) {
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, 0, fmt.Errorf("reading %q: it is no account of all processors", line)
	}
	const idle, wait, steal = 4, 5, 8
	for i, s := range f[1:9] {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("reading %q: %w", line, err)
		}
		switch t := time.Duration(n) * time.Second / userHZ; i + 1 {
		case idle, wait:
		case steal:
			stolen = t
		default:
			busy += t
		}
	}
	return busy, stolen, nil
}
