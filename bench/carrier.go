//go:build linux

package main

import (
	"fmt"
	"io"
	"time"

	"sidecar/bench/figure"
	"sidecar/bench/load"
)

// A carrier is one way for clients to reach the same sidecar.
type carrier struct {
	name string
	busy func(r *load.Rig, addr string, n int) (echoer, error) // opens n that will echo 64 B
	idle func(r *load.Rig, addr string, n int) error           // opens n that have had one echo and wait
}

// An echoer has clients that echo, and counts the bytes on their wires.
type echoer interface {
	Echo(time.Duration) (n int, took time.Duration, err error)
	Wire() (sent, got int)
}

// allCarriers are those that are measured beside each other; the first is what
// the others are compared with.
func allCarriers() []carrier {
	return []carrier{
		crowd("WebSocket", (*load.Rig).Open),
		crowd("Engine.IO, WebSocket", (*load.Rig).OpenEngine),
		{name: "Engine.IO, polling",
			busy: func(r *load.Rig, addr string, n int) (echoer, error) { return r.Poll(addr, n, 64) },
			idle: func(r *load.Rig, addr string, n int) error { _, err := r.Park(addr, n, true); return err }},
		crowd("resumable, WebSocket", (*load.Rig).OpenResume),
		calls("resumable, stream and send", load.StreamAndSend),
		calls("resumable, poll and send", load.PollAndSend),
		calls("resumable, poll alone", load.PollAlone),
	}
}

func crowd(name string, open func(*load.Rig, string, int, int) (*load.Crowd, error)) carrier {
	return carrier{name: name,
		busy: func(r *load.Rig, addr string, n int) (echoer, error) { return open(r, addr, n, 64) },
		idle: func(r *load.Rig, addr string, n int) error { _, err := open(r, addr, n, 64); return err }}
}

func calls(name string, way load.Way) carrier {
	return carrier{name: name,
		busy: func(r *load.Rig, addr string, n int) (echoer, error) { return r.Call(addr, n, 64, way) },
		idle: func(r *load.Rig, addr string, n int) error { _, err := r.Hang(addr, n, way); return err }}
}

// carriers are the peers of work in l: for each carrier a sidecar of its own, and
// one of the other build where there is one. In other languages there are none.
func (p *plan) carriers(l language) (all []peer) {
	if l != carried {
		return nil
	}
	for _, c := range allCarriers() {
		all = append(all, peer{name: c.name, speaks: carried, carrier: &c,
			config: func(g *ground, s site) ([]string, error) { return sidecar(g.sidecar, "warn", s) }})
		if p.ground.other != "" {
			all = append(all, peer{name: c.name + " (other)", speaks: carried, carrier: &c,
				config: func(g *ground, s site) ([]string, error) { return sidecar(g.other, "warn", s) }})
		}
	}
	return all
}

func carriedEcho(r *run) (task, error) {
	w, err := r.carrier.busy(r.rig, r.addr, r.conns)
	if err != nil {
		return nil, err
	}
	return &counted{r: r, do: w.Echo, wire: w.Wire}, nil
}

func carriedIdle(h *holding) error { return h.r.carrier.idle(h.r.rig, h.r.addr, h.r.conns) }

// compare prints the table of the carriers.
func (p *plan) compare(out io.Writer, rows []figure.Row) {
	if len(rows) == 0 {
		return
	}
	var shown []string
	for _, a := range p.carriers(carried) {
		shown = append(shown, a.name)
	}
	fmt.Fprintln(out)
	figure.WriteAcross(out, "carrier", rows, shown)
}
