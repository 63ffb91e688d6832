//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sidecar/bench/figure"
)

// turns is how many turns each peer has in a round.
const turns = 8

// A match is all rounds of one kind of work.
type match struct {
	*plan
	work
	row figure.Row
	out map[string]bool // peers that failed
}

// row is w's, with nothing measured yet.
func (w work) row() figure.Row {
	return figure.Row{Name: w.title, Unit: w.unit, BesideUnit: w.beside, Goals: w.goals,
		Values: map[string][]float64{}, Beside: map[string][]float64{}, Sent: map[string][]float64{}, Got: map[string][]float64{}}
}

// play plays all rounds. A peer that fails is left out from then on, and its
// figures too: its neighbours in time would be no longer.
func (m *match) play(ctx context.Context) error {
	rounds := m.rounds
	if m.steady {
		rounds = max(rounds/3, 1)
	}
	var faults []error
	for n := 1; n <= rounds && ctx.Err() == nil; n++ {
		for side := range slices.Chunk(m.in(), m.atOnce()) {
			faults = append(faults, m.round(ctx, n, side))
		}
	}
	for name := range m.out {
		delete(m.row.Values, name)
		delete(m.row.Beside, name)
		delete(m.row.Sent, name)
		delete(m.row.Got, name)
	}
	return errors.Join(faults...)
}

// in is the peers that take part.
func (m *match) in() []peer {
	return slices.DeleteFunc(slices.Concat(m.peers, m.carriers(m.speaks())), func(a peer) bool {
		return m.out[a.name] || !a.in(m.speaks()) || a.config == nil && m.proxied || a.managed && !m.tls
	})
}

// atOnce is how many peers' clients and backends there are descriptors for. Those
// that wait for their only turn would answer no pings, and be idle for longer than
// the figures say.
func (m *match) atOnce() int {
	if m.once {
		return 1
	}
	return max(affordable()/m.conns, 1)
}

// round plays one round between the peers of side: all are started, and then
// take turns.
func (m *match) round(ctx context.Context, n int, side []peer) error {
	var runs []*run
	defer func() {
		for _, r := range runs {
			r.end()
		}
	}()
	var faults []error
	attempt := func(r *run, err error) bool {
		if err != nil && !m.out[r.peer] {
			m.out[r.peer] = true
			faults = append(faults, fmt.Errorf("%s, %s: %w", m.name, r.peer, err))
			fmt.Fprintf(m.notes, "%s, %s: LEFT OUT: %v\n", m.name, r.peer, err)
		}
		return !m.out[r.peer]
	}
	for _, a := range side {
		r := &run{plan: m.plan, peer: a.name, conns: m.conns}
		runs = append(runs, r)
		attempt(r, r.start(ctx, m.work, a))
	}
	for turn := range m.turns() {
		for _, r := range runs {
			if ctx.Err() == nil && attempt(r, nil) {
				attempt(r, r.turn(turn, m.long(turn)))
			}
		}
	}
	for _, r := range runs {
		if attempt(r, ctx.Err()) {
			s, err := r.task.sample()
			if attempt(r, err) {
				s.into(m.row, r.peer)
				fmt.Fprintf(m.notes, "%s, round %d, %s: %s\n", m.name, n, r.peer, s.in(m.work))
			}
		}
	}
	return errors.Join(faults...)
}

// turns is how many there are in a round, with that for warming up.
func (m *match) turns() int {
	if m.once {
		return 1
	}
	return 1 + turns
}

// long is how long the n-th turn is.
func (m *match) long(n int) time.Duration {
	if n == 0 {
		return max(m.warm, m.each/turns)
	}
	return m.each / turns
}

// turn is the n-th turn of r.
func (r *run) turn(n int, d time.Duration) error {
	if n == 1 {
		r.record()
	}
	return r.task.turn(d)
}
