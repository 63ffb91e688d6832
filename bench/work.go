//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"sidecar/bench/figure"
	"sidecar/bench/load"
)

// A work is one kind of work to measure.
type work struct {
	name, title  string
	unit, beside string // of a sample's figures
	goals        []figure.Goal
	tls          bool // towards the client
	steady       bool // hardly varies, and takes long
	proxied      bool // means nothing without a proxy
	do           func(*run1) (sample, error)
}

func (w work) String() string { return w.name }

// A sample is what one run gave.
type sample struct {
	value  float64 // judged; less is better. NaN: none
	beside float64 // shown; 0: none
}

func (s sample) into(row figure.Row, peer string) {
	if !math.IsNaN(s.value) {
		row.Values[peer] = append(row.Values[peer], s.value)
	}
	if s.beside != 0 {
		row.Beside[peer] = append(row.Beside[peer], s.beside)
	}
}

func (s sample) in(w work) string {
	var parts []string
	if !math.IsNaN(s.value) {
		parts = append(parts, fmt.Sprintf("%.2f %s", s.value, w.unit))
	}
	if s.beside != 0 {
		parts = append(parts, fmt.Sprintf("%.0f %s", s.beside, w.beside))
	}
	return strings.Join(parts, ", ")
}

// works are all kinds, with the figures to reach.
func works() []work {
	most := func(peer string, v float64) figure.Goal { return figure.Goal{Peer: peer, Most: v} }
	return []work{
		{name: "echo64", title: "CPU per 64 B echo", unit: "µs", beside: "/s",
			goals: []figure.Goal{most("nginx", 1), most("haproxy", 0.85)}, do: echo(64)},
		{name: "echo16k", title: "CPU per 16 KiB echo", unit: "µs", beside: "/s",
			goals: []figure.Goal{most("haproxy", 0.65)}, do: echo(16 << 10)},
		{name: "spread", title: "CPU per 64 B echo at 4,000/s over 1,000 connections", unit: "µs", beside: "/s",
			goals: []figure.Goal{most("nginx", 1.05)}, do: spread},
		{name: "connect", title: "CPU per connect, handshake, echo, close", unit: "µs", beside: "/s",
			goals: []figure.Goal{most("nginx", 1.4)}, do: connect},
		{name: "fanout", title: "fan-out of 64 B to 2,000, p99 of a broadcast", unit: "ms", beside: "µs CPU each",
			goals: []figure.Goal{most("nginx", 1)}, do: fanout},
		{name: "idle", title: "memory per idle connection", unit: "KiB", steady: true, proxied: true,
			goals: []figure.Goal{most("", 1.5)}, do: idle},
		{name: "idletls", title: "memory per idle TLS connection", unit: "KiB", steady: true, proxied: true, tls: true,
			goals: []figure.Goal{most("", 16)}, do: idleTLS},
	}
}

// echo keeps 100 connections busy with messages of size bytes.
func echo(size int) func(*run1) (sample, error) {
	return func(r *run1) (sample, error) {
		w, err := r.rig.Open(r.addr, 100, size)
		if err != nil {
			return sample{}, err
		}
		if _, _, err := w.Echo(r.each / 5); err != nil {
			return sample{}, err
		}
		return r.perOne(func() (int, time.Duration, error) { return w.Echo(r.each) })
	}
}

func spread(r *run1) (sample, error) {
	const rate = 4000
	w, err := r.rig.Open(r.addr, 1000, 64)
	if err != nil {
		return sample{}, err
	}
	if _, _, err := w.Paced(r.each/5, rate); err != nil {
		return sample{}, err
	}
	return r.perOne(func() (int, time.Duration, error) { return w.Paced(r.each*3/2, rate) })
}

func connect(r *run1) (sample, error) {
	t, err := r.rig.Turnstile(r.addr, 32)
	if err != nil {
		return sample{}, err
	}
	if _, _, err := t.Turn(r.each / 5); err != nil {
		return sample{}, err
	}
	return r.perOne(func() (int, time.Duration, error) { return t.Turn(r.each) })
}

// perOne measures what the proxy takes for each of what do does.
func (r *run1) perOne(do func() (int, time.Duration, error)) (sample, error) {
	before, err := r.cpu()
	if err != nil {
		return sample{}, err
	}
	end := r.record()
	n, took, err := do()
	end()
	if err == nil && n == 0 {
		err = fmt.Errorf("nothing was done in %v", took)
	}
	if err != nil {
		return sample{}, err
	}
	after, err := r.cpu()
	s := sample{value: math.NaN(), beside: float64(n) / took.Seconds()}
	if r.proxy != nil {
		s.value = float64((after - before).Nanoseconds()) / 1000 / float64(n)
	}
	return s, err
}

// fanout broadcasts 64 bytes to 2,000 clients, again and again.
func fanout(r *run1) (sample, error) {
	w, err := r.rig.Open(r.addr, 2000, 64)
	if err != nil {
		return sample{}, err
	}
	if _, err := w.Broadcast(64); err != nil { // buffers grow
		return sample{}, err
	}
	var late []float64 // of each broadcast, in ms
	cpu, err := r.perOne(func() (int, time.Duration, error) {
		start := time.Now()
		for time.Since(start) < r.each {
			d, err := w.Broadcast(64)
			if err = firstOf(err, r.rig.Idle(20*time.Millisecond)); err != nil {
				return 0, 0, err
			}
			late = append(late, float64(figure.Percentile(d, 99).Microseconds())/1000)
		}
		return len(late) * 2000, time.Since(start), nil
	})
	s := sample{value: figure.Of(late).Median}
	if !math.IsNaN(cpu.value) {
		s.beside = cpu.value
	}
	return s, err
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func idle(r *run1) (sample, error) {
	return r.perHeld(func() error {
		_, err := r.rig.Open(r.addr, r.idle, 64)
		return err
	})
}

func idleTLS(r *run1) (sample, error) {
	var held *load.Held
	defer func() {
		if held != nil {
			held.Close()
		}
	}()
	s, err := r.perHeld(func() (err error) {
		held, err = r.rig.Hold(r.addr, r.idle, r.tls)
		return err
	})
	if held != nil {
		err = firstOf(err, held.Fault())
	}
	return s, err
}

// perHeld measures what the proxy has resident for each connection that open
// opens, once they have been idle for a while.
func (r *run1) perHeld(open func() error) (sample, error) {
	before, err := r.proxy.Memory()
	if err != nil {
		return sample{}, err
	}
	if err := open(); err != nil {
		return sample{}, err
	}
	if err := r.rig.Idle(r.settle); err != nil {
		return sample{}, err
	}
	after, err := r.proxy.Memory()
	return sample{value: float64(after-before) / 1024 / float64(r.idle)}, err
}

// once measures one run of w through a, started for it.
func (p *plan) once(ctx context.Context, w work, a peer) (sample, error) {
	r, err := p.start(ctx, w, a)
	if err != nil {
		return sample{}, err
	}
	defer r.end()
	return w.do(r)
}
