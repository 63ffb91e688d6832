//go:build linux

package proc

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// mostCores is how many processors a unix.CPUSet tells of.
const mostCores = 1024

// Cores are the processors that this process may run on, in order.
func Cores() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("asking for the processors: %w", err)
	}
	var cores []int
	for i := range mostCores {
		if set.IsSet(i) {
			cores = append(cores, i)
		}
	}
	return cores, nil
}

// pin has this thread, and what it starts, run on core only.
func pin(core int) error {
	var set unix.CPUSet
	set.Set(core)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pinning to core %d: %w", core, err)
	}
	return nil
}

// other is the variable that tells the program run anew which core is free.
const other = "SIDECAR_BENCH_CORE"

// Apart runs this program anew in this one's place, on its first core only, and
// then returns the last core, which is left to what it measures. (Threads that
// run already cannot be pinned by one call, and there are as many of them as
// there were cores at the start.)
func Apart() (core int, err error) {
	if s := os.Getenv(other); s != "" {
		os.Unsetenv(other) // the sidecar takes it for a setting
		return strconv.Atoi(s)
	}
	all, err := Cores()
	if err != nil {
		return 0, err
	}
	if len(all) < 2 {
		return 0, errors.New("two processors are needed: one for the proxy, one for the clients and the backend")
	}
	runtime.LockOSThread()
	if err := pin(all[0]); err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	return 0, unix.Exec(self, os.Args, append(os.Environ(), fmt.Sprintf("%s=%d", other, all[len(all)-1])))
}
