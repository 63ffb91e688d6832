package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing/synctest"
	"time"
)

// A world is some sessions, each beside its model, and calls of them one after
// the other, as chance has it.
type world struct {
	all   Sessions
	pairs []*pair
	order []*model // those that ever left, by when they did last
	pick  chance
	fault fault
	log   []string
	err   error // the first difference
	count int
}

// chance is a *rand.Rand, or a fuzzer's bytes.
type chance interface{ IntN(n int) int }

// A pair is a session and its model.
type pair struct {
	world *world
	m     model
	s     *Session
	c     core
	seats []*seat
	got   []string
	seen  account
}

func (p *pair) Write(m Message) error {
	if p.m.fails {
		return errors.New("the backend's socket fails")
	}
	p.got = append(p.got, string(m.Data))
	return nil
}
func (p *pair) Close(c Close) { p.seen.closes = append(p.seen.closes, c) }
func (p *pair) Room()         { p.seen.rooms++ }

func (w *world) wrong(format string, a ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("call %d: %s", len(w.log), fmt.Sprintf(format, a...))
	}
}

func (w *world) begin() {
	set := &Settings{TTL: time.Minute, Window: minWindow, Overflow: "pause"}
	if w.pick.IntN(3) == 0 {
		set.Overflow = "close"
	}
	p := &pair{world: w}
	want := w.open()
	s, err := w.all.Open(Opening{
		Settings: set, Backend: w.fault.behind(p), Observer: tell{&p.seen},
		Ended: func(why Reason) { p.seen.ended = append(p.seen.ended, why) },
	})
	if !errors.Is(err, want) {
		w.wrong("Open = %v; want %v", err, want)
	}
	if err != nil || want != nil {
		return
	}
	now := time.Now()
	p.m = model{world: w, set: set, opened: now, left: now, heard: now, away: true}
	p.m.seen.opened = 1
	p.s, p.c = s, w.fault.before(sound{s})
	w.pairs, w.order = append(w.pairs, p), append(w.order, &p.m)
}

// near picks a number that is n, or a little less or more, or far too much.
func (w *world) near(n uint64) uint64 {
	switch k := w.pick.IntN(12); k {
	case 0, 1, 2:
		return n - min(n, uint64(k)+1)
	case 3, 4:
		return n + uint64(k) - 2
	case 5:
		return ^uint64(0) - uint64(w.pick.IntN(2))
	}
	return n
}

var filler = make([]byte, 6000)

func (w *world) message() Message {
	w.count++
	b := fmt.Appendf(nil, "%d ", w.count)
	size := []int{0, 0, 50, 500, 2000, 6000}[w.pick.IntN(6)]
	return Message{Binary: w.count%2 == 0, Data: append(b, filler[:size]...)}
}

func (w *world) messages() (all []Message) {
	for range w.pick.IntN(4) {
		all = append(all, w.message())
	}
	return all
}

// step calls one of a session's methods, and its model's, and compares.
func (w *world) step() {
	if len(w.pairs) == 0 || w.pick.IntN(40) == 0 {
		w.log = append(w.log, "open")
		w.begin()
		return
	}
	p := w.pairs[w.pick.IntN(len(w.pairs))]
	if last := w.pairs[len(w.pairs)-1]; p.m.reason != 0 && w.pick.IntN(4) > 0 {
		p = last // those that have ended are dull
	}
	call := calls[w.pick.IntN(len(calls))]
	w.log = append(w.log, fmt.Sprintf("%s of %d", call.name, slices.Index(w.pairs, p)))
	call.do(p)
	p.compare()
	if len(w.log)%8 == 0 { // the others may have been changed beside
		w.compareAll()
	}
	if got, want := w.all.Held(), w.total(); got != want {
		w.wrong("%d bytes are held; want %d", got, want)
	}
}

func (w *world) compareAll() {
	for _, p := range w.pairs {
		p.compare()
	}
}

// calls is what a step picks from; what should be frequent is there more often.
var calls = []struct {
	name string
	do   func(p *pair)
}{
	{"Deliver", (*pair).deliver}, {"Deliver", (*pair).deliver}, {"Deliver", (*pair).deliver}, {"Deliver", (*pair).deliver},
	{"Take", (*pair).take}, {"Take", (*pair).take}, {"Take", (*pair).take}, {"Take", (*pair).take},
	{"Ack", (*pair).ack}, {"Ack", (*pair).ack}, {"Ack", (*pair).ack},
	{"Send", (*pair).send}, {"Send", (*pair).send}, {"Send", (*pair).send},
	{"Attach", (*pair).attach}, {"Attach", (*pair).attach},
	{"Resume", (*pair).resume}, {"Resume", (*pair).resume},
	{"Replace", (*pair).replace}, {"Reader.Close", (*pair).leave}, {"time", (*pair).sleep},
	{"rare", func(p *pair) {
		rare := []func(*pair){(*pair).deliverClose, (*pair).sendClose, (*pair).end, (*pair).fail}
		rare[p.world.pick.IntN(len(rare))](p)
	}},
}

func (p *pair) same(call string, got, want error) {
	if !errors.Is(got, want) {
		p.world.wrong("%s = %v; want %v", call, got, want)
	}
}

func (p *pair) deliver() {
	m := p.world.message()
	if got, want := p.c.Deliver(m), p.m.deliver(m); got != want {
		p.world.wrong("Deliver = %v; want %v", got, want)
	}
}

func (p *pair) deliverClose() {
	c := Close{4000 + p.world.pick.IntN(100), "over"}
	p.c.DeliverClose(c)
	p.m.deliverClose(c)
}

func (p *pair) take() {
	if len(p.seats) == 0 {
		return
	}
	s := p.seats[max(0, len(p.seats)-1-p.world.pick.IntN(3)/2)]
	most := []int64{0, 500, 1 << 20}[p.world.pick.IntN(3)]
	got, err := s.reader.Take(nil, most)
	want, wantErr := p.m.take(s, most)
	p.same("Take", err, wantErr)
	if !equal(got, want) || err == nil && got.Last() != s.last {
		p.world.wrong("Take = %s; want %s", brief(got), brief(want))
	}
}

func equal(a, b Batch) bool {
	return a.First == b.First && (a.Close == nil) == (b.Close == nil) && (a.Close == nil || *a.Close == *b.Close) &&
		slices.EqualFunc(a.Messages, b.Messages, func(a, b Message) bool {
			return a.Binary == b.Binary && bytes.Equal(a.Data, b.Data)
		})
}

func brief(b Batch) string {
	s := fmt.Sprintf("from %d:", b.First)
	for _, m := range b.Messages {
		s += fmt.Sprintf(" %.8q", m.Data)
	}
	return fmt.Sprint(s, " close ", b.Close)
}

func (p *pair) ack() {
	n := p.world.near([]uint64{p.m.sent, p.m.acked, p.m.acked + 1}[p.world.pick.IntN(3)])
	p.same(fmt.Sprint("Ack of ", n), p.c.Ack(n), p.m.ack(n))
}

func (p *pair) sit(call string, real func(wake func()) (puller, error), modelled func(*seat) error) {
	s := &seat{}
	r, err := real(func() { s.got++ })
	want := modelled(s)
	p.same(call, err, want)
	if s.reader = r; err == nil && want == nil {
		p.seats = append(p.seats, s)
	}
}

func (p *pair) attach() { p.sit("Attach", p.c.Attach, p.m.attach) }

func (p *pair) resume() {
	n := p.world.near(p.m.acked + uint64(p.world.pick.IntN(2))*(p.m.sent-p.m.acked))
	p.sit(fmt.Sprint("Resume behind ", n),
		func(wake func()) (puller, error) { return p.c.Resume(n, wake) },
		func(s *seat) error { return p.m.resume(n, s) })
}

func (p *pair) replace() {
	p.sit("Replace", p.c.Replace, func(s *seat) error { return p.m.resume(p.m.base(), s) })
}

func (p *pair) leave() {
	if len(p.seats) > 0 {
		s := p.seats[max(0, len(p.seats)-1-p.world.pick.IntN(2))]
		s.reader.Close()
		p.m.leave(s)
	}
}

func (p *pair) send() {
	first := p.world.near(p.m.received + 1)
	all := p.world.messages()
	got, err := p.c.Send(context.Background(), first, all...)
	p.same(fmt.Sprint("Send from ", first), err, p.m.send(first, all))
	if got != p.m.received {
		p.world.wrong("Send = %d; want %d", got, p.m.received)
	}
}

func (p *pair) sendClose() {
	n, c := p.world.near(p.m.received+1), Close{3000 + p.world.pick.IntN(100), "enough"}
	got, err := p.c.SendClose(context.Background(), n, c)
	p.same(fmt.Sprint("SendClose ", n), err, p.m.sendClose(n, c))
	if got != p.m.received {
		p.world.wrong("SendClose = %d; want %d", got, p.m.received)
	}
}

func (p *pair) end() {
	why := Reason(1 + p.world.pick.IntN(len(Reasons)))
	p.c.End(why, Close{1001, "the end"})
	p.m.finish(why, Close{1001, "the end"})
}

func (p *pair) fail() { p.m.fails = true }

func (p *pair) sleep() {
	pick := p.world.pick
	d := []time.Duration{1, time.Second, time.Minute / 2, time.Minute - 1, time.Minute}[pick.IntN(5)]
	if rest := p.m.set.TTL - time.Since(p.m.heard); rest > 1 && pick.IntN(2) == 0 {
		d = rest - time.Duration(pick.IntN(2)) // to its last moment, or the one before
	}
	time.Sleep(d)
	synctest.Wait()
	p.world.expire()
}

// compare looks at all that can be seen of a session from outside.
func (p *pair) compare() {
	w := p.world
	if got := p.c.Ended(); got != p.m.reason {
		w.wrong("ended %v; want %v", got, p.m.reason)
	}
	if got := p.c.Received(); got != p.m.received {
		w.wrong("received %d; want %d", got, p.m.received)
	}
	if got := p.c.Acknowledged(); got != p.m.base() {
		w.wrong("acknowledged %d; want %d", got, p.m.base())
	}
	if !slices.Equal(p.got, p.m.passed) {
		w.wrong("the backend has %.8q; want %.8q", p.got, p.m.passed)
	}
	if !p.seen.equal(&p.m.seen) {
		w.wrong("told %+v; want %+v", p.seen, p.m.seen)
	}
	for i, s := range p.seats {
		if s.got != s.wakes {
			w.wrong("reader %d was woken %d times; want %d", i, s.got, s.wakes)
		}
	}
	found, err := w.all.Find(p.s.ID(), Identity{})
	var gone *Gone
	if p.m.reason == 0 && found != p.s || p.m.reason != 0 && !(errors.As(err, &gone) && gone.Reason == p.m.reason) {
		w.wrong("found %v, %v; want it, or that it ended %v", found, err, p.m.reason)
	}
}

// finish ends what still lives, and looks at what is left over.
func (w *world) finish() {
	w.compareAll()
	for _, p := range w.pairs {
		p.s.End(Drained, bye)
	}
	if w.err == nil && (w.all.Held() != 0 || w.all.Len() != 0 || w.all.head != nil || w.all.tail != nil) {
		w.wrong("at the end %d bytes are held by %d sessions", w.all.Held(), w.all.Len())
	}
}
