//go:build linux

package main

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	"sidecar/bench/figure"
)

// A work is one kind of work to measure.
type work struct {
	name, title  string
	unit, beside string // of a sample's figures
	goals        []figure.Goal
	tls          bool          // towards the client
	hybrid       bool          // with it, keys exchanged as browsers do; see clientTLS
	steady       bool          // hardly varies, and takes long: a third of the rounds
	proxied      bool          // means nothing without a proxy
	conns        int           // connections; 0: as many as are to be held idle
	once         bool          // one turn a round
	language     language      // the clients'; "" for plain
	warm         time.Duration // the first turn's time, at least: what compiles as it runs needs some
	open         func(*run) (task, error)
}

// A task is work that was begun through one peer. Turns of several peers' tasks
// alternate, so that what else the machine does is in all of them.
type task interface {
	// turn goes on for d. The first is for warming up.
	turn(d time.Duration) error
	// sample is what the turns gave.
	sample() (sample, error)
}

func (w work) String() string { return w.name }

// speaks is what w's clients speak.
func (w work) speaks() language { return cmp.Or(w.language, plain) }

// A sample is what one run gave.
type sample struct {
	value  float64 // judged; less is better. NaN: none
	beside float64 // shown; 0: none
	sent   float64 // bytes that the client sent and got for each; 0: not counted
	got    float64
}

func (s sample) into(row figure.Row, peer string) {
	if !math.IsNaN(s.value) {
		row.Values[peer] = append(row.Values[peer], s.value)
	}
	if s.beside != 0 {
		row.Beside[peer] = append(row.Beside[peer], s.beside)
	}
	if s.sent != 0 {
		row.Sent[peer], row.Got[peer] = append(row.Sent[peer], s.sent), append(row.Got[peer], s.got)
	}
}

func (s sample) in(w work) string {
	var parts []string
	if !math.IsNaN(s.value) {
		parts = append(parts, fmt.Sprintf("%.2f %s", s.value, w.unit))
	}
	if s.beside != 0 {
		parts = append(parts, fmt.Sprintf("%v %s", figure.Of([]float64{s.beside}), w.beside))
	}
	if s.sent != 0 {
		parts = append(parts, fmt.Sprintf("%.0f + %.0f bytes", s.sent, s.got))
	}
	return strings.Join(parts, ", ")
}

// works are all kinds, with the figures to reach.
func works() []work {
	most := func(peer string, v float64) figure.Goal { return figure.Goal{Peer: peer, Most: v} }
	return []work{
		{name: "echo64", conns: 100, title: "CPU per 64 B echo", unit: "µs", beside: "/s",
			goals: []figure.Goal{most("nginx", 1), most("haproxy", 0.85)}, open: echo(64)},
		{name: "echo16k", conns: 100, title: "CPU per 16 KiB echo", unit: "µs", beside: "/s",
			goals: []figure.Goal{most("haproxy", 0.65)}, open: echo(16 << 10)},
		{name: "spread", conns: 1000, title: "CPU per 64 B echo at 4,000/s over 1,000 connections", unit: "µs", beside: "/s",
			goals: []figure.Goal{most("nginx", 1.05)}, open: spread},
		{name: "connect", conns: 32, title: "CPU per connect, handshake, echo, close", unit: "µs", beside: "/s",
			goals: []figure.Goal{most("nginx", 1.4)}, open: connect},
		{name: "fanout", conns: 2000, title: "fan-out of 64 B to 2,000, p99 of a broadcast", unit: "ms", beside: "µs CPU each",
			goals: []figure.Goal{most("nginx", 1)}, open: fanout},
		{name: "idle", title: "memory per idle connection", unit: "KiB", beside: "after 5 s", steady: true, proxied: true, once: true,
			goals: []figure.Goal{most("", 1.5)}, open: held(idle)},
		{name: "idletls", title: "memory per idle TLS connection", unit: "KiB", beside: "after 5 s", steady: true, proxied: true, once: true, tls: true,
			goals: []figure.Goal{most("", 16)}, open: held(idle)},
		{name: "echotls64", conns: 100, title: "CPU per 64 B echo over TLS", unit: "µs", beside: "/s", proxied: true, tls: true, open: echo(64)},
		{name: "echotls16k", conns: 100, title: "CPU per 16 KiB echo over TLS", unit: "µs", beside: "/s", proxied: true, tls: true, open: echo(16 << 10)},
		{name: "connecttls", conns: 32, title: "CPU per TLS connect, both handshakes, echo, close", unit: "µs", beside: "/s", proxied: true, tls: true, open: connect},
		{name: "connecthybrid", conns: 32, title: "CPU per TLS connect, with X25519MLKEM768 where the proxy has it", unit: "µs", beside: "/s", proxied: true, tls: true, hybrid: true, open: connect},
		{name: "polling", conns: 64, title: "CPU per polling round trip (GET and POST) with a 64 B echo", unit: "µs", beside: "/s", language: engineIO, proxied: true, warm: 2 * time.Second,
			goals: []figure.Goal{most("node", 0.9)}, open: polling},
		{name: "engine64", conns: 100, title: "CPU per 64 B echo over Engine.IO's WebSocket", unit: "µs", beside: "/s", language: engineIO, proxied: true, warm: 2 * time.Second, open: engineEcho},
		{name: "parked", title: "memory per parked poll of a new session", unit: "KiB", beside: "after 5 s", language: engineIO, steady: true, proxied: true, once: true,
			goals: []figure.Goal{most("", 16)}, open: held(parked(false))},
		{name: "parked1", title: "memory per parked poll after one echo", unit: "KiB", beside: "after 5 s", language: engineIO, steady: true, proxied: true, once: true,
			goals: []figure.Goal{most("", 16)}, open: held(parked(true))},
		{name: "engineidle", title: "memory per idle Engine.IO session on WebSocket", unit: "KiB", beside: "after 5 s", language: engineIO, steady: true, proxied: true, once: true,
			goals: []figure.Goal{most("", 16)}, open: held(engineIdle)},
		{name: "carriers", conns: 64, title: "CPU per 64 B echo", unit: "µs", beside: "/s", language: carried, proxied: true, warm: time.Second, open: carriedEcho},
		{name: "carriersidle", title: "memory per idle session", unit: "KiB", beside: "after 5 s", language: carried, steady: true, proxied: true, once: true, open: held(carriedIdle)},
	}
}
