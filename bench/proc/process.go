//go:build linux

package proc

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// A Process is a program that was started, with all that it starts.
type Process struct {
	cmd    *exec.Cmd
	log    *os.File
	exited chan struct{}
}

// Start starts argv on core, in dir and with its output in dir/log. It ends when
// this process does.
func Start(core int, dir string, argv ...string) (*Process, error) {
	log, err := os.Create(dir + "/log")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	p := &Process{cmd: cmd, log: log, exited: make(chan struct{})}
	if err := p.startOn(core); err != nil {
		log.Close()
		return nil, fmt.Errorf("starting %s: %w", argv[0], err)
	}
	return p, nil
}

// startOn starts cmd from a thread that runs on core only, for a child begins
// where its parent's thread may run, and waits for it there: the thread's end
// would be the child's too. The thread is locked and ends with its goroutine.
func (p *Process) startOn(core int) error {
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := pin(core)
		if err == nil {
			err = p.cmd.Start()
		}
		started <- err
		if err == nil {
			p.cmd.Wait() // its exit code says nothing: it was told to end
			close(p.exited)
		}
	}()
	return <-started
}

// Ready waits until p takes connections at addr, at most for within.
func (p *Process) Ready(ctx context.Context, addr string, within time.Duration) error {
	ctx, stop := context.WithTimeout(ctx, within)
	defer stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-p.exited:
			return fmt.Errorf("%s ended: %s", p.cmd.Path, p.said())
		case <-ctx.Done():
			return fmt.Errorf("%s takes no connections: %w: %s", p.cmd.Path, err, p.said())
		}
	}
}

// said is the end of what p wrote.
func (p *Process) said() string {
	b, _ := os.ReadFile(p.log.Name())
	return string(b[max(0, len(b)-2000):])
}

// Stop ends p, kills it where that takes two seconds, and waits.
func (p *Process) Stop() {
	kill := time.AfterFunc(2*time.Second, p.killAll)
	defer kill.Stop()
	// Two that differ cannot become one on their way, and the sidecar drains at
	// the first and ends at the second.
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.cmd.Process.Signal(syscall.SIGINT)
	<-p.exited
	p.log.Close()
}

// killAll kills p and what it started.
func (p *Process) killAll() {
	pids, _ := p.pids()
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// Pid is the process that was started.
func (p *Process) Pid() int { return p.cmd.Process.Pid }
