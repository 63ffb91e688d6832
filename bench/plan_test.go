//go:build linux

package main

import (
	"context"
	"io"
	"os/exec"
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
	if p, err = parse(nil, io.Discard); err != nil || len(p.works) != len(works()) || names(p.peers) != "direct,nginx,haproxy,sidecar" {
		t.Errorf("by default: %s of %s, %v; want all", names(p.works), names(p.peers), err)
	}
	for _, bad := range []string{"-only=echo65", "-peers=caddy", "-rounds=0", "-each=-1s", "-nonsense", "echo64"} {
		if _, err := parse([]string{bad}, io.Discard); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// A pinch of each kind of work through no proxy: the kinds themselves run.
func TestWorksRunDirect(t *testing.T) {
	for _, w := range works() {
		if w.proxied {
			continue
		}
		p := &plan{each: 50 * time.Millisecond, notes: io.Discard}
		s, err := p.once(t.Context(), w, peer{name: "direct"})
		if err != nil || s.value <= 0 || s.value != s.value && s.beside <= 0 {
			t.Errorf("%s: %+v, %v", w.name, s, err)
		}
	}
}

// Each peer that is here starts with its configuration, plain and over TLS.
func TestPeersStart(t *testing.T) {
	cores, err := proc.Cores()
	if err != nil {
		t.Fatal(err)
	}
	p := &plan{core: cores[len(cores)-1], idle: 5, notes: io.Discard}
	end, err := p.ground.prepare(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	for _, a := range peers(false) {
		for _, tls := range []bool{false, true} {
			if _, err := exec.LookPath(a.program); a.config == nil || a.program != "" && err != nil {
				continue
			}
			small := work{name: "idle", tls: tls, do: idle}
			if tls {
				small.do = idleTLS
			}
			if _, err := p.once(t.Context(), small, a); err != nil && !strings.Contains(err.Error(), "not in this version") {
				t.Errorf("%s, TLS %v: %v", a.name, tls, err)
			}
		}
	}
}
