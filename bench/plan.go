//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"

	"sidecar/bench/figure"
)

// A plan is what to measure, and how long.
type plan struct {
	works   []work
	peers   []peer
	rounds  int
	each    time.Duration // the measured time of a run
	settle  time.Duration // before memory is read
	idle    int           // connections held
	profile string        // a directory for profiles of ours, or ""
	core    int           // the proxies'
	notes   io.Writer
	ground  ground
}

// parse reads the flags.
func parse(args []string, notes io.Writer) (*plan, error) {
	p := &plan{notes: notes}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(notes)
	only := f.String("only", "", "work to measure, by commas: "+names(works()))
	among := f.String("peers", "", "peers to measure, by commas: direct,nginx,haproxy,sidecar,other")
	quick := f.Bool("quick", false, "one round of short runs, a minute or two: for a first look")
	f.IntVar(&p.rounds, "rounds", 5, "how often each peer is measured; memory, which hardly varies, half as often")
	f.DurationVar(&p.each, "each", 2*time.Second, "the measured time of a run")
	f.DurationVar(&p.settle, "settle", 5*time.Second, "how long connections are idle before memory is read")
	f.IntVar(&p.idle, "idle", 8500, "idle connections to hold; fewer where descriptors do not suffice")
	f.StringVar(&p.profile, "profile", "", "a directory for perf profiles of the sidecar; they cost, so the figures are then worse")
	f.StringVar(&p.ground.sidecar, "sidecar", "", "a built sidecar to measure (default: it is built from this tree)")
	f.StringVar(&p.ground.other, "other", "", "another build of the sidecar, to compare with, as the peer other")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if *quick {
		p.rounds, p.each, p.settle = 1, time.Second, 3*time.Second
	}
	return p, p.choose(*only, *among, f.Args())
}

// choose settles what is measured of what.
func (p *plan) choose(only, among string, rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("%q is no flag", rest[0])
	}
	if p.rounds < 1 || p.each <= 0 || p.settle < 0 || p.idle < 1 {
		return errors.New("rounds, each and idle must be positive")
	}
	var err error
	if p.works, err = pick(works(), only); err != nil {
		return err
	}
	p.peers, err = pick(peers(p.ground.other != ""), among)
	p.idle = min(p.idle, affordable())
	return err
}

// names are those of all, by commas.
func names[T interface{ String() string }](all []T) string {
	var s []string
	for _, a := range all {
		s = append(s, a.String())
	}
	return strings.Join(s, ",")
}

// pick is those of all that list names; all of them if it is empty.
func pick[T interface{ String() string }](all []T, list string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	var some []T
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(all, func(a T) bool { return a.String() == name })
		if i < 0 {
			return nil, fmt.Errorf("%q is none of %s", name, names(all))
		}
		some = append(some, all[i])
	}
	return some, nil
}

// affordable is how many connections descriptors suffice for: the generator and
// the proxy each need two for one.
func affordable() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 100
	}
	return max(int(min(r.Max, 1<<20))/2-800, 1)
}

// measure measures all and prints the table.
func (p *plan) measure(ctx context.Context, out io.Writer) error {
	end, err := p.ground.prepare(ctx)
	if err != nil {
		return err
	}
	defer end()
	p.peers = slices.DeleteFunc(p.peers, func(a peer) bool { return !a.present(p.notes) })
	var rows []figure.Row
	var faults []error
	start := time.Now()
	for _, w := range p.works {
		row, err := p.row(ctx, w)
		faults = append(faults, err)
		rows = append(rows, row)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	fmt.Fprintf(p.notes, "%v in all\n", time.Since(start).Round(time.Second))
	var shown []string
	for _, a := range p.peers {
		shown = append(shown, a.name)
	}
	fmt.Fprintln(out)
	figure.Write(out, rows, shown)
	return errors.Join(faults...)
}

// row measures one kind of work, round by round: in each, all peers in turn.
func (p *plan) row(ctx context.Context, w work) (figure.Row, error) {
	row := figure.Row{Name: w.title, Unit: w.unit, BesideUnit: w.beside, Goals: w.goals,
		Values: map[string][]float64{}, Beside: map[string][]float64{}}
	out := map[string]bool{}
	var faults []error
	for round := range p.roundsOf(w) {
		for _, a := range p.peers {
			if out[a.name] || ctx.Err() != nil || a.config == nil && w.proxied {
				continue
			}
			s, err := p.once(ctx, w, a)
			if err != nil {
				// A peer that fails is left out, or neighbours would no longer be.
				out[a.name] = true
				faults = append(faults, fmt.Errorf("%s, %s: %w", w.name, a.name, err))
				fmt.Fprintf(p.notes, "%s, %s: left out: %v\n", w.name, a.name, err)
				continue
			}
			s.into(row, a.name)
			fmt.Fprintf(p.notes, "%s, round %d, %s: %s\n", w.name, round+1, a.name, s.in(w))
		}
	}
	for name := range out {
		delete(row.Values, name)
		delete(row.Beside, name)
	}
	return row, errors.Join(faults...)
}

// roundsOf is fewer for memory, which takes long and hardly varies.
func (p *plan) roundsOf(w work) int {
	if w.steady {
		return (p.rounds + 1) / 2
	}
	return p.rounds
}
