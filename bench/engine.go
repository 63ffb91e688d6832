//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// polling has clients poll and send as fast as they can.
func polling(r *run) (task, error) {
	w, err := r.rig.Poll(r.addr, r.conns, 64)
	return &counted{r: r, do: func(d time.Duration) (int, time.Duration, error) { return w.Echo(d) }}, err
}

func engineEcho(r *run) (task, error) {
	w, err := r.rig.OpenEngine(r.addr, r.conns, 64)
	return &counted{r: r, do: func(d time.Duration) (int, time.Duration, error) { return w.Echo(d) }}, err
}

// parked holds polls that wait; with spoken, each session has had one echo.
func parked(spoken bool) func(*holding) error {
	return func(h *holding) error {
		_, err := h.r.rig.Park(h.r.addr, h.r.conns, spoken)
		return err
	}
}

func engineIdle(h *holding) error {
	_, err := h.r.rig.OpenEngine(h.r.addr, h.r.conns, 64)
	return err
}

// node starts the reference server. It echoes by itself: it has no second hop.
func node(_ *ground, s site) ([]string, error) {
	_, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return nil, err
	}
	dir, err := nodeDir()
	return []string{"node", filepath.Join(dir, "server.mjs"), port}, err
}

// nodeReady reports whether the reference server is installed.
func nodeReady() error {
	dir, err := nodeDir()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "engine.io")); err != nil {
		return errors.New("engine.io is not installed (npm ci --ignore-scripts, in bench/node)")
	}
	return nil
}

// nodeDir is where the reference server is in the tree that this is run in.
func nodeDir() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("finding the tree: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "bench", "node"), nil
}
