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
	"sidecar/bench/proc"
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
	among := f.String("peers", "", "peers to measure, by commas: direct,nginx,haproxy,node,sidecar; logging, which is the sidecar with log.level info; managed, which is it with certificates of tls.mode internal; other")
	quick := f.Bool("quick", false, "one round of short runs, a minute or two: for a first look")
	f.IntVar(&p.rounds, "rounds", 5, "how often each peer is measured; memory, which hardly varies, a third as often")
	f.DurationVar(&p.each, "each", 2*time.Second, "the measured time of a run")
	f.DurationVar(&p.settle, "settle", 25*time.Second, "how long connections are idle before memory is read; the sidecar gives back what a burst took within 20s")
	f.IntVar(&p.idle, "idle", 8500, "idle connections to hold; fewer where descriptors do not suffice")
	f.StringVar(&p.profile, "profile", "", "a directory for perf profiles of the sidecar; they cost, so the figures are then worse")
	f.StringVar(&p.ground.sidecar, "sidecar", "", "a built sidecar to measure (default: it is built from this tree)")
	f.StringVar(&p.ground.other, "other", "", "another build of the sidecar, to compare with, as the peer other")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if *quick {
		p.hurry(f)
	}
	return p, p.choose(*only, *among, f.Args())
}

// hurry shortens what f does not set.
func (p *plan) hurry(f *flag.FlagSet) {
	set := map[string]bool{}
	f.Visit(func(a *flag.Flag) { set[a.Name] = true })
	if !set["rounds"] {
		p.rounds = 1
	}
	if !set["each"] {
		p.each = time.Second
	}
	if !set["settle"] {
		p.settle = 3 * time.Second
	}
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
	if p.peers, err = pick(peers(), among); among == "" {
		p.peers = slices.DeleteFunc(p.peers, func(a peer) bool { return a.extra && (a.name != "other" || p.ground.other == "") })
	}
	if p.ground.other == "" && strings.Contains(names(p.peers), "other") {
		return errors.New("the peer other needs -other")
	}
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
	rows := map[language][]figure.Row{}
	var faults []error
	start := time.Now()
	watch, err := proc.NewWatch()
	if err != nil {
		return err
	}
	for _, w := range p.works {
		if w.conns == 0 {
			w.conns = p.idle
		}
		m := &match{plan: p, work: w, row: w.row(), out: map[string]bool{}}
		faults = append(faults, m.play(ctx))
		rows[w.speaks()] = append(rows[w.speaks()], m.row)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	others, stolen, err := watch.Noise()
	fmt.Fprintf(p.notes, "%v in all; of all processors, other programs took %.0f %% and the host %.0f %%\n",
		time.Since(start).Round(time.Second), 100*others, 100*stolen)
	faults = append(faults, err)
	for _, l := range []language{plain, engineIO} {
		p.show(out, l, rows[l])
	}
	p.compare(out, rows[carried])
	return errors.Join(faults...)
}

// show prints the table of the work whose clients speak l.
func (p *plan) show(out io.Writer, l language, rows []figure.Row) {
	if len(rows) == 0 {
		return
	}
	var shown []string
	for _, a := range p.peers {
		if a.in(l) {
			shown = append(shown, a.name)
		}
	}
	fmt.Fprintln(out)
	figure.Write(out, rows, shown)
}
