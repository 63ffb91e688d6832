//go:build linux

package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// heard is told of every message that a client of w gets.
func (w *Crowd) heard(c *client, got []byte) error {
	if w.news != nil {
		return w.spread(c, got)
	}
	if err := c.echo(got); err != nil {
		return err
	}
	w.done++
	if w.again {
		c.say()
		return nil
	}
	c.rest()
	return nil
}

// Echo has every client send a message as soon as the one before has come back,
// for d, and waits for the last. It returns how many came back and in what time.
func (w *Crowd) Echo(d time.Duration) (int, time.Duration, error) {
	w.again = true
	w.done = 0
	start := time.Now()
	for _, c := range w.clients {
		c.say()
	}
	_, err := w.r.l.runFor(d)
	w.again = false
	return w.done, time.Since(start), firstOf(err, w.rest())
}

// rest waits until no message is under way.
func (w *Crowd) rest() error {
	return w.r.l.within(patience, "the last echoes", func() bool {
		return !slices.ContainsFunc(w.clients, func(c *client) bool { return c.waiting })
	})
}

// Paced has the clients send one after the other, rate messages a second over
// all at equal distances, for d, and waits for the last. A client whose message
// before is still under way is left out: what comes back tells the rate held.
func (w *Crowd) Paced(d time.Duration, rate int) (int, time.Duration, error) {
	fd, err := ticks(rate)
	if err != nil {
		return 0, 0, err
	}
	s := &socket{fd: fd}
	s.ready = func() {
		for range ticked(fd) {
			w.nextOf(w.turn)
			w.turn++
		}
	}
	if err := w.r.l.add(s); err != nil {
		return 0, 0, err
	}
	w.done = 0
	start := time.Now()
	_, err = w.r.l.runFor(d)
	s.close()
	err = firstOf(err, w.rest())
	return w.done, time.Since(start), err
}

// nextOf has the i-th client send. The order is not that of opening, so that
// neighbours in a proxy's memory do not follow each other.
func (w *Crowd) nextOf(i int) {
	const stride = 7919 // a prime, so that every client has its turn
	if c := w.clients[i*stride%len(w.clients)]; !c.waiting {
		c.say()
	}
}

// ticks is a timer that is readable rate times a second.
func ticks(rate int) (int, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("making a timer: %w", err)
	}
	each := unix.NsecToTimespec(int64(time.Second) / int64(rate))
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: each, Value: each}, nil); err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("setting a timer: %w", err)
	}
	return fd, nil
}

// ticked is how often a timer ticked since it was asked last; a long pause
// counts as a second at most.
func ticked(fd int) uint64 {
	var b [8]byte
	if n, err := unix.Read(fd, b[:]); n != 8 || err != nil {
		return 0
	}
	return min(binary.NativeEndian.Uint64(b[:]), 1000)
}

// Broadcast has the backend send a message of size bytes to all of w, and waits
// until all have it. It returns how long each took, from before the first write.
func (w *Crowd) Broadcast(size int) ([]time.Duration, error) {
	w.delays = make([]time.Duration, 0, len(w.clients))
	v := newVoice(size)
	w.news = v.want
	defer func() { w.news = nil }()
	for _, c := range w.clients {
		c.waiting = true
	}
	w.since = time.Now()
	if n := w.r.b.broadcast(w.news); n != len(w.clients) {
		return nil, fmt.Errorf("the backend has %d connections for %d clients", n, len(w.clients))
	}
	err := w.r.l.within(patience, "a broadcast", func() bool { return len(w.delays) == len(w.clients) })
	return w.delays, err
}

// spread is told of a broadcast's arrival.
func (w *Crowd) spread(c *client, got []byte) error {
	if !c.waiting {
		return errors.New("a broadcast came twice")
	}
	c.waiting = false
	w.delays = append(w.delays, time.Since(w.since))
	v := voice{want: w.news}
	return v.check(got)
}
