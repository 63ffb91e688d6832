//go:build linux

package load

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// A poller is one client that polls, and sends by POST.
type poller struct {
	l        *loop
	voice    *voice
	down, up *line // one and the same, or one for each direction
	target   string
	// under is how many requests are under way.
	under int
}

// newPoller connects to addr as the n-th client, with two connections or one,
// and opens a session; then opened is told.
func newPoller(l *loop, addr netip.AddrPort, n, size, lines int, opened func(*poller) error) *poller {
	p := &poller{l: l, voice: newText(size)}
	p.down = newLine(l, addr, n)
	if p.up = p.down; lines > 1 {
		p.up = newLine(l, addr, n)
	}
	p.down.get(enginePolling+"&t="+stamp(), func(body []byte) error {
		sid, err := opening(body)
		p.target = enginePolling + "&sid=" + sid + "&t="
		if err != nil {
			return err
		}
		return opened(p)
	})
	return p
}

// poll asks for what comes; then is given the packets.
func (p *poller) poll(then func(packets []byte) error) {
	p.under++
	p.down.get(p.target+stamp(), func(b []byte) error {
		p.under--
		return then(b)
	})
}

// say sends the next message; then is told when that was taken.
func (p *poller) say(then func() error) {
	p.under++
	p.voice.next()
	p.up.post(p.target+stamp(), p.voice.want, func(b []byte) error {
		p.under--
		if !bytes.Equal(b, []byte("ok")) {
			return fmt.Errorf("a message was taken with %q", b)
		}
		return then()
	})
}

// A Polls is clients that poll, each with a session that is open.
type Polls struct {
	r       *Rig
	clients []*poller
	opened  int
	done    int
	again   bool // each echo is answered with the next message
}

// Poll opens n clients at addr that poll, with two connections each and messages
// of size bytes, and waits until each has its session.
func (r *Rig) Poll(addr string, n, size int) (*Polls, error) {
	return r.polls(addr, n, size, 2, func(*Polls, *poller) error { return nil })
}

// Park opens n clients at addr whose polls wait, with one connection each. With
// spoken, each has had one echo before.
func (r *Rig) Park(addr string, n int, spoken bool) (*Polls, error) {
	return r.polls(addr, n, 64, 1, func(w *Polls, p *poller) error {
		if !spoken {
			p.poll(unasked)
			return nil
		}
		w.opened-- // it is when it has heard its echo
		p.say(func() error {
			p.poll(func(b []byte) error {
				w.opened++
				err := p.voice.check(b)
				p.poll(unasked)
				return err
			})
			return nil
		})
		return nil
	})
}

// unasked is what a poll that is to wait must not be answered with.
func unasked(b []byte) error { return fmt.Errorf("a poll that waits was answered with %q", b) }

// polls opens n clients and has each go on with then.
func (r *Rig) polls(addr string, n, size, lines int, then func(*Polls, *poller) error) (*Polls, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("opening clients: %w", err)
	}
	w := &Polls{r: r}
	opened := func(p *poller) error {
		w.opened++
		return then(w, p)
	}
	err = r.l.within(patience, fmt.Sprintf("opening %d clients", n), func() bool {
		for len(w.clients) < n && len(w.clients)-w.opened < handshakes && r.l.err == nil {
			w.clients = append(w.clients, newPoller(r.l, to, len(w.clients), size, lines, opened))
		}
		return w.opened == n
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Echo has every client poll and send a message at once, and again as soon as
// both are answered, for d, and waits for the last. It returns how many came back
// and in what time.
func (w *Polls) Echo(d time.Duration) (int, time.Duration, error) {
	w.again, w.done = true, 0
	start := time.Now()
	for _, p := range w.clients {
		w.round(p)
	}
	_, err := w.r.l.runFor(d)
	w.again = false
	err = firstOf(err, w.r.l.within(patience, "the last echoes", w.resting))
	return w.done, time.Since(start), err
}

func (w *Polls) resting() bool {
	return !slices.ContainsFunc(w.clients, func(p *poller) bool { return p.under > 0 })
}

// round has p poll and speak. A stock client does so too: its next poll is under
// way before its page can answer what the last one brought.
func (w *Polls) round(p *poller) {
	over := func() error {
		if p.under > 0 {
			return nil
		}
		w.done++
		if w.again {
			w.round(p)
		}
		return nil
	}
	p.poll(func(b []byte) error {
		if err := p.voice.check(b); err != nil {
			return err
		}
		return over()
	})
	p.say(over)
}
