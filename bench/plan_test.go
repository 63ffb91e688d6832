//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"sidecar/bench/proc"
)

func TestFlags(t *testing.T) {
	p, err := parse([]string{"-only", "spread,idle", "-peers", "sidecar,nginx", "-rounds", "3"}, io.Discard)
	if err != nil || names(p.works) != "spread,idle" || names(p.peers) != "sidecar,nginx" || p.rounds != 3 {
		t.Errorf("got %s of %s, %d rounds, %v", names(p.works), names(p.peers), p.rounds, err)
	}
	if p, err = parse(nil, io.Discard); err != nil || len(p.works) != len(works()) || names(p.peers) != "direct,nginx,haproxy,node,sidecar" {
		t.Errorf("by default: %s of %s, %v; want all", names(p.works), names(p.peers), err)
	}
	if p, err = parse([]string{"-other", "before"}, io.Discard); err != nil || names(p.peers) != "direct,nginx,haproxy,node,sidecar,other" {
		t.Errorf("with another build: %s, %v", names(p.peers), err)
	}
	for _, bad := range []string{"-only=echo65", "-peers=caddy", "-rounds=0", "-each=-1s", "-nonsense", "echo64"} {
		if _, err := parse([]string{bad}, io.Discard); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// A pinch of each kind of work, through no proxy: the kinds themselves run.
func TestWorksRunDirect(t *testing.T) {
	for _, w := range works() {
		if w.proxied {
			continue
		}
		p := &plan{each: 200 * time.Millisecond, rounds: 2, notes: io.Discard, peers: []peer{{name: "direct"}}}
		m := &match{plan: p, work: w, row: w.row(), out: map[string]bool{}}
		err := m.play(t.Context())
		if got := len(m.row.Beside["direct"]) + len(m.row.Values["direct"]); err != nil || got != 2 {
			t.Errorf("%s: %d figures in two rounds, %v; want 2", w.name, got, err)
		}
	}
}

// Each peer that is here starts with its configuration, plain and over TLS.
func TestPeersStart(t *testing.T) {
	cores, err := proc.Cores()
	if err != nil {
		t.Fatal(err)
	}
	p := &plan{core: cores[len(cores)-1], idle: 5, each: turns * 10 * time.Millisecond, rounds: 1, notes: io.Discard}
	end, err := p.ground.prepare(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	for _, a := range peers() {
		if p.peers = append(p.peers, a); !a.present(io.Discard) || a.extra && !a.managed {
			t.Logf("%s is not here, or extra", a.name)
			p.peers = p.peers[:len(p.peers)-1]
		}
	}
	for _, w := range []work{
		{name: "echo", conns: 3, open: echo(64)},
		{name: "idle", conns: 3, open: held(idle), proxied: true, once: true},
		{name: "idle over TLS", conns: 3, open: held(idle), proxied: true, once: true, tls: true},
		{name: "echo over TLS", conns: 3, open: echo(64), proxied: true, tls: true},
		{name: "connect over TLS", conns: 3, open: connect, proxied: true, tls: true},
		{name: "connect in hybrid", conns: 3, open: connect, proxied: true, tls: true, hybrid: true},
		{name: "polling", conns: 3, open: polling, proxied: true, language: engineIO},
		{name: "Engine.IO over WebSocket", conns: 3, open: engineEcho, proxied: true, language: engineIO},
		{name: "parked", conns: 3, open: held(parked(true)), proxied: true, once: true, language: engineIO},
		{name: "carriers", conns: 3, open: carriedEcho, proxied: true, language: carried},
		{name: "idle carriers", conns: 3, open: held(carriedIdle), proxied: true, once: true, language: carried},
	} {
		m := &match{plan: p, work: w, row: w.row(), out: map[string]bool{}}
		if err := m.play(t.Context()); err != nil {
			t.Errorf("%s: %v", w.name, err)
		}
		if got := len(m.row.Values["managed"]); (got == 1) != w.tls {
			t.Errorf("%s: %d figures with a managed certificate", w.name, got)
		}
		if n := len(allCarriers()); w.language == carried && (len(m.row.Values) != n || !w.once && len(m.row.Sent) != n) {
			t.Errorf("%s: figures of %d carriers and bytes of %d; want %d", w.name, len(m.row.Values), len(m.row.Sent), n)
		}
	}
}

// A peer that fails in one round must not leave figures of another behind.
func TestFailingPeerIsLeftOut(t *testing.T) {
	left := 3
	fails := func(r *run) (task, error) {
		if left--; r.peer == "direct" && left <= 0 {
			return nil, errors.New("a byte was wrong")
		}
		w, err := r.rig.Open(r.addr, 1, 64)
		return &counted{r: r, do: func(d time.Duration) (int, time.Duration, error) { return w.Echo(d) }}, err
	}
	p := &plan{each: 20 * time.Millisecond, rounds: 3, notes: io.Discard, peers: []peer{{name: "direct"}, {name: "another"}}}
	m := &match{plan: p, work: work{name: "w", conns: 1, open: fails}, out: map[string]bool{}}
	m.row = m.work.row()
	err := m.play(t.Context())
	if err == nil || !strings.Contains(err.Error(), "w, direct: a byte was wrong") {
		t.Errorf("got %v; want the fault, and whose it was", err)
	}
	if b := m.row.Beside; len(b["direct"]) != 0 || len(b["another"]) != 3 {
		t.Errorf("%v; want three figures of another, and none of direct", b)
	}
}

// Peers that are held idle must not wait for each other: nobody would answer their
// pings meanwhile.
func TestIdlePeersRunOneAfterTheOther(t *testing.T) {
	open := 0
	alone := func(r *run) (task, error) {
		if open++; open > 1 {
			return nil, errors.New("another is open")
		}
		return leaving{&open}, nil
	}
	p := &plan{rounds: 3, notes: io.Discard, peers: []peer{{name: "one"}, {name: "another"}}}
	m := &match{plan: p, work: work{name: "w", conns: 1, once: true, open: alone}, out: map[string]bool{}}
	m.row = m.work.row()
	if err := m.play(t.Context()); err != nil || len(m.row.Values["another"]) != 3 {
		t.Errorf("%v, %v; want three figures of each", m.row.Values, err)
	}
}

// leaving is a task that is over with its turn.
type leaving struct{ open *int }

func (l leaving) turn(time.Duration) error { *l.open--; return nil }
func (leaving) sample() (sample, error)    { return sample{value: 1}, nil }
