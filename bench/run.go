//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"sidecar/bench/load"
	"sidecar/bench/proc"
)

// A run is a task through one peer, which is started for it.
type run struct {
	*plan
	peer    string
	carrier *carrier // the peer's; or nil
	name    string   // of the work and the peer
	conns   int
	rig     *load.Rig
	proxy   *proc.Process // nil: none stands between
	addr    string        // where clients go
	task    task
	perf    *exec.Cmd // records; or nil
}

// start starts a backend, a in front of it, and the work. What was started then
// needs end, even if it failed.
func (r *run) start(ctx context.Context, w work, a peer) (err error) {
	r.name, r.carrier = w.name+"-"+a.name, a.carrier
	if r.rig, err = load.New(); err != nil {
		return err
	}
	r.addr = r.rig.Backend()
	if a.config != nil {
		if err := r.launch(ctx, w, a); err != nil {
			return err
		}
	}
	r.task, err = w.open(r)
	return err
}

// launch starts a in a directory of its own.
func (r *run) launch(ctx context.Context, w work, a peer) error {
	s := site{Backend: r.rig.Backend(), TLS: w.tls, Engine: w.language == engineIO, Carried: w.language == carried, Ground: r.ground.dir, Connections: max(r.idle, 2000) + 500}
	var err error
	if s.Listen, err = freeAddr(); err != nil {
		return err
	}
	if s.Dir, err = os.MkdirTemp(r.ground.dir, a.name); err != nil {
		return err
	}
	argv, err := a.config(&r.ground, s)
	if err != nil {
		return err
	}
	if r.proxy, err = proc.Start(r.core, s.Dir, argv...); err != nil {
		return err
	}
	r.addr = s.Listen
	if err := r.proxy.Ready(ctx, s.Listen, 10*time.Second); err != nil || !w.tls {
		return err
	}
	conf, err := r.ground.trusting(ctx, w, a, s)
	r.rig.Secure(conf)
	return err
}

// end ends all that start started.
func (r *run) end() {
	r.recorded()
	if r.rig != nil {
		r.rig.Close()
	}
	if r.proxy != nil {
		r.proxy.Stop()
	}
}

// cpu is what the proxy has taken so far.
func (r *run) cpu() (time.Duration, error) {
	if r.proxy == nil {
		return 0, nil
	}
	return r.proxy.CPU()
}

// record has perf take a profile, where that is asked for.
func (r *run) record() {
	if r.profile == "" || r.proxy == nil {
		return
	}
	pids, err := r.proxy.Pids()
	if err != nil {
		return // the turn tells
	}
	r.perf = exec.Command("perf", "record", "-q", "-F", "997", "-g", "-o", r.data(), "-p", pids)
	r.perf.Stderr = r.notes
	if err := r.perf.Start(); err != nil {
		fmt.Fprintf(r.notes, "no profile: %v\n", err)
		r.perf = nil
	}
}

func (r *run) data() string { return filepath.Join(r.profile, r.name+".perf") }

// recorded ends the profile and writes, beside it, what took most. Functions
// come first without what they call, then with it.
func (r *run) recorded() {
	if r.perf == nil {
		return
	}
	r.perf.Process.Signal(syscall.SIGINT) // it writes what it has
	r.perf.Wait()
	var text []byte
	for _, how := range []string{"--no-children", "--children"} {
		out, err := exec.Command("perf", "report", "-i", r.data(), "--stdio", "-g", "none", "--percent-limit", "0.3", how).CombinedOutput()
		if text = append(text, out...); err != nil {
			fmt.Fprintf(r.notes, "reading the profile: %v\n", err)
		}
	}
	file := filepath.Join(r.profile, r.name+".txt")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		fmt.Fprintf(r.notes, "keeping the profile: %v\n", err)
		return
	}
	fmt.Fprintf(r.notes, "profile: %s; perf report -i %s\n", file, r.data())
}
