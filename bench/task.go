//go:build linux

package main

import (
	"errors"
	"fmt"
	"math"
	"time"

	"sidecar/bench/figure"
	"sidecar/bench/load"
)

// A counted is a task of which the proxy's time for each of many is wanted.
type counted struct {
	r         *run
	do        func(time.Duration) (int, time.Duration, error)
	warm      bool
	n         int
	took, cpu time.Duration
	// wire is how many bytes the clients sent and got so far; nil: not counted.
	wire      func() (sent, got int)
	sent, got int
}

func (c *counted) turn(d time.Duration) error {
	before, err := c.r.cpu()
	if err != nil {
		return err
	}
	sent, got := c.bytes()
	n, took, err := c.do(d)
	if err != nil {
		return err
	}
	after, err := c.r.cpu()
	if c.warm {
		c.n, c.took, c.cpu = c.n+n, c.took+took, c.cpu+after-before
		nowSent, nowGot := c.bytes()
		c.sent, c.got = c.sent+nowSent-sent, c.got+nowGot-got
	}
	c.warm = true
	return err
}

func (c *counted) bytes() (sent, got int) {
	if c.wire == nil {
		return 0, 0
	}
	return c.wire()
}

func (c *counted) sample() (sample, error) {
	if c.n == 0 {
		return sample{}, fmt.Errorf("nothing was done in %v", c.took)
	}
	s := sample{value: math.NaN(), beside: float64(c.n) / c.took.Seconds(), sent: float64(c.sent) / float64(c.n), got: float64(c.got) / float64(c.n)}
	if c.r.proxy != nil {
		s.value = float64(c.cpu.Nanoseconds()) / 1000 / float64(c.n)
	}
	return s, nil
}

// echo keeps connections busy with messages of size bytes.
func echo(size int) func(*run) (task, error) {
	return func(r *run) (task, error) {
		w, err := r.rig.Open(r.addr, r.conns, size)
		return &counted{r: r, do: func(d time.Duration) (int, time.Duration, error) { return w.Echo(d) }}, err
	}
}

func spread(r *run) (task, error) {
	w, err := r.rig.Open(r.addr, r.conns, 64)
	return &counted{r: r, do: func(d time.Duration) (int, time.Duration, error) { return w.Paced(d*3/2, 4000) }}, err
}

func connect(r *run) (task, error) {
	t, err := r.rig.Turnstile(r.addr, r.conns)
	return &counted{r: r, do: func(d time.Duration) (int, time.Duration, error) { return t.Turn(d) }}, err
}

// A fan is the task of broadcasting to a crowd.
type fan struct {
	counted
	w    *load.Crowd
	late []float64 // the 99th of 100 of each broadcast, in ms
}

func fanout(r *run) (task, error) {
	w, err := r.rig.Open(r.addr, r.conns, 64)
	f := &fan{w: w}
	f.counted = counted{r: r, do: f.broadcasts}
	return f, err
}

func (f *fan) broadcasts(d time.Duration) (heard int, took time.Duration, err error) {
	start := time.Now()
	for time.Since(start) < d && err == nil {
		var delays []time.Duration
		if delays, err = f.w.Broadcast(64); f.warm {
			f.late = append(f.late, float64(figure.Percentile(delays, 99).Microseconds())/1000)
		}
		heard += len(delays)
		err = errors.Join(err, f.r.rig.Idle(20*time.Millisecond))
	}
	return heard, time.Since(start), err
}

func (f *fan) sample() (sample, error) {
	s, err := f.counted.sample()
	s.value, s.beside = figure.Of(f.late).Median, s.value
	if math.IsNaN(s.beside) {
		s.beside = 0
	}
	return s, err
}

// A holding is the task of doing nothing.
type holding struct {
	r           *run
	before      int64 // bytes, with no connection
	opened      time.Time
	early, held float64 // KiB for each
}

// held is the task of holding what open opens.
func held(open func(*holding) error) func(*run) (task, error) {
	return func(r *run) (task, error) {
		h := &holding{r: r}
		var err error
		if h.before, err = r.proxy.Memory(); err != nil {
			return nil, err
		}
		if err = open(h); err != nil {
			return nil, err
		}
		h.opened = time.Now()
		return h, nil
	}
}

func idle(h *holding) error {
	_, err := h.r.rig.Open(h.r.addr, h.r.conns, 64)
	return err
}

// soon is when memory is read for the first time, and only shown: what the
// handshakes needed is still held.
const soon = 5 * time.Second

// turn waits until what the handshakes needed may be gone, and reads.
func (h *holding) turn(time.Duration) (err error) {
	if h.r.settle > soon {
		if h.early, err = h.after(soon); err != nil {
			return err
		}
	}
	h.held, err = h.after(h.r.settle - time.Since(h.opened))
	return err
}

// after is what a connection takes once d has passed, in KiB.
func (h *holding) after(d time.Duration) (float64, error) {
	if err := h.r.rig.Idle(d); err != nil {
		return 0, err
	}
	now, err := h.r.proxy.Memory()
	return float64(now-h.before) / 1024 / float64(h.r.conns), err
}

func (h *holding) sample() (sample, error) { return sample{value: h.held, beside: h.early}, nil }
