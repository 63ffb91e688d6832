package server

import (
	"fmt"
	"syscall"
)

// lowLimit is the descriptor limit below which the start banner warns: a
// sidecar there serves fewer than two thousand clients.
const lowLimit = 4096

// A budget is what may be had of descriptors.
type budget struct {
	files   int // RLIMIT_NOFILE
	reserve int // for the ops listener, logs, files and idle upstream connections
	sockets int // client sockets; each may need one more to the backend
}

// budgetOf divides files descriptors. At least one client socket is left for
// each listener, or it would never be asked.
func budgetOf(files, listeners int) (budget, error) {
	b := budget{files: files, reserve: 128 + files/100}
	b.sockets = (files - b.reserve) / 2
	if b.sockets < listeners+1 {
		return b, fmt.Errorf("descriptor limit %d is too low: %d are kept in reserve; raise it (ulimit -n, LimitNOFILE=) to 1024 or more", files, b.reserve)
	}
	return b, nil
}

// raise lifts the soft descriptor limit to the hard one, which needs no
// privilege, and says what it is then.
func raise() (int, error) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, fmt.Errorf("reading the descriptor limit: %w", err)
	}
	if up := (syscall.Rlimit{Cur: r.Max, Max: r.Max}); r.Cur < r.Max && syscall.Setrlimit(syscall.RLIMIT_NOFILE, &up) == nil {
		r.Cur = r.Max
	}
	// "unlimited" must not become a table that no memory holds.
	return int(min(r.Cur, 1<<22)), nil
}
