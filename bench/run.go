//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"sidecar/bench/figure"
	"sidecar/bench/load"
	"sidecar/bench/proc"
)

// A run1 is one run of one kind of work through one peer.
type run1 struct {
	*plan
	name  string // of work and peer
	ours  bool
	rig   *load.Rig
	proxy *proc.Process // nil: none stands between
	addr  string        // where clients go
	tls   *tls.Config
}

// start starts a backend, and a in front of it.
func (p *plan) start(ctx context.Context, w work, a peer) (*run1, error) {
	rig, err := load.New()
	if err != nil {
		return nil, err
	}
	r := &run1{plan: p, name: w.name + "-" + a.name, ours: a.name == figure.Ours, rig: rig, addr: rig.Backend(), tls: p.ground.tls}
	if a.config == nil {
		return r, nil
	}
	if r.proxy, r.addr, err = p.launch(ctx, w, a, rig.Backend()); err != nil {
		rig.Close()
		return nil, err
	}
	return r, nil
}

func (p *plan) launch(ctx context.Context, w work, a peer, backend string) (*proc.Process, string, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, "", err
	}
	dir, err := os.MkdirTemp(p.ground.dir, a.name)
	if err != nil {
		return nil, "", err
	}
	s := site{Dir: dir, Listen: addr, Backend: backend, TLS: w.tls, Ground: p.ground.dir, Connections: p.idle + 500}
	argv, err := a.config(&p.ground, s)
	if err != nil {
		return nil, "", err
	}
	proxy, err := proc.Start(p.core, dir, argv...)
	if err != nil {
		return nil, "", err
	}
	if err := proxy.Ready(ctx, addr, 10*time.Second); err != nil {
		proxy.Stop()
		return nil, "", err
	}
	return proxy, addr, nil
}

func (r *run1) end() {
	r.rig.Close()
	if r.proxy != nil {
		r.proxy.Stop()
	}
}

// cpu is what the proxy has taken so far.
func (r *run1) cpu() (time.Duration, error) {
	if r.proxy == nil {
		return 0, nil
	}
	return r.proxy.CPU()
}

// record has perf take a profile of ours where that is asked for, until what it
// returns is called.
func (r *run1) record() (end func()) {
	if r.profile == "" || !r.ours {
		return func() {}
	}
	file := filepath.Join(r.profile, r.name+".perf")
	cmd := exec.Command("perf", "record", "-q", "-F", "997", "-g", "-o", file, "-p", strconv.Itoa(r.proxy.Pid()))
	cmd.Stderr = r.notes
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(r.notes, "no profile: %v\n", err)
		return func() {}
	}
	return func() {
		cmd.Process.Signal(syscall.SIGINT) // it writes what it has
		cmd.Wait()
		fmt.Fprintf(r.notes, "profile: perf report -i %s\n", file)
	}
}
