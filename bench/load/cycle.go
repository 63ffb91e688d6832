//go:build linux

package load

import (
	"fmt"
	"net/netip"
	"time"
)

// A Turnstile has clients connect, shake hands, have one message of 64 bytes
// echoed, close by the closing handshake, and begin anew.
type Turnstile struct {
	r        *Rig
	to       netip.AddrPort
	voices   []*voice
	entered  int
	done     int
	draining bool
	inside   int
}

// Turnstile makes one towards addr; at most slots clients are under way at once.
func (r *Rig) Turnstile(addr string, slots int) (*Turnstile, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("opening clients: %w", err)
	}
	t := &Turnstile{r: r, to: to}
	for range slots {
		t.voices = append(t.voices, newVoice(64))
	}
	return t, nil
}

// Turn turns for d, waits for the last to leave, and returns how many left and
// in what time.
func (t *Turnstile) Turn(d time.Duration) (int, time.Duration, error) {
	start := time.Now()
	t.done, t.draining = 0, false
	for _, v := range t.voices {
		t.enter(v)
	}
	if _, err := t.r.l.runFor(d); err != nil {
		return 0, 0, err
	}
	t.draining = true
	err := t.r.l.within(patience, "closing the last clients", func() bool { return t.inside == 0 })
	return t.done, time.Since(start), err
}

func (t *Turnstile) enter(v *voice) {
	c := &client{l: t.r.l, voice: v, opened: (*client).say, left: t.left}
	c.heard = func(c *client, got []byte) error {
		if err := c.echo(got); err != nil {
			return err
		}
		c.leave()
		return nil
	}
	if err := c.start(t.to, t.entered); err != nil {
		t.r.l.fail(err)
	}
	t.entered++
	t.inside++
}

// left is told when a client's connection has ended in order.
func (t *Turnstile) left(c *client) {
	t.done++
	t.inside--
	if !t.draining {
		t.enter(c.voice)
	}
}
