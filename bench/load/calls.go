//go:build linux

package load

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// A Calls is clients of resumable sessions over HTTP, all open.
type Calls struct {
	r       *Rig
	clients []*caller
	opened  int
	done    int
	again   bool // each echo is answered with the next message
}

// Call opens n resumable sessions at addr over HTTP, with messages of size bytes,
// and waits until each has its WELCOME.
func (r *Rig) Call(addr string, n, size int, way Way) (*Calls, error) {
	return r.calls(addr, n, size, way, func(w *Calls, c *caller) error {
		w.opened++
		c.rested = func() error { w.rested(c); return nil }
		return nil
	})
}

// Hang opens n resumable sessions at addr over HTTP, each of which has one echo,
// acknowledges it, and then has only its stream, or a poll that waits.
func (r *Rig) Hang(addr string, n int, way Way) (*Calls, error) {
	return r.calls(addr, n, 64, way, func(w *Calls, c *caller) error {
		c.rested = func() error { w.hang(c); return nil }
		c.round()
		return nil
	})
}

// hang leaves c, which has had its echo, with what brings it messages.
func (w *Calls) hang(c *caller) {
	waits := func() error {
		w.opened++
		if c.up != c.down {
			c.up.s.close()
		}
		return nil
	}
	if c.way == StreamAndSend {
		c.rested = waits
		c.send(c.talk.front())
		return
	}
	c.rested = nil
	c.poll(c.talk.front())
	waits()
}

// calls opens n clients; then goes on with each that has its WELCOME.
func (r *Rig) calls(addr string, n, size int, way Way, then func(*Calls, *caller) error) (*Calls, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("opening clients: %w", err)
	}
	w := &Calls{r: r}
	err = r.l.within(patience, fmt.Sprintf("opening %d clients", n), func() bool {
		for len(w.clients) < n && len(w.clients)-w.opened < handshakes && r.l.err == nil {
			w.clients = append(w.clients, newCaller(r.l, to, len(w.clients), size, way, func(c *caller) error { return then(w, c) }))
		}
		return w.opened == n
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Echo has every client send a message as soon as the echo of the one before has
// come and its requests are answered, for d, and waits for the last. It returns
// how many came back and in what time.
func (w *Calls) Echo(d time.Duration) (int, time.Duration, error) {
	w.again, w.done = true, 0
	start := time.Now()
	for _, c := range w.clients {
		c.round()
	}
	_, err := w.r.l.runFor(d)
	w.again = false
	err = firstOf(err, w.r.l.within(patience, "the last echoes", func() bool {
		return !slices.ContainsFunc(w.clients, func(c *caller) bool { return c.under > 0 || c.waiting })
	}))
	return w.done, time.Since(start), err
}

func (w *Calls) rested(c *caller) {
	w.done++
	if w.again {
		c.round()
	}
}
