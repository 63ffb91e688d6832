package resumable

import (
	"fmt"
	"time"

	"sidecar/protocol/resume/wire"
)

// raceOn is how long the others of a race go on behind the first WELCOME (§11.1).
const raceOn = 5 * time.Second

// mostKept is as much of a server's window as is used, however large that is: what is not
// acknowledged is kept. Who takes more than that uses more: the server acknowledges at half
// of the smaller window, and a pause would come before that otherwise.
const mostKept = 16 << 20

// answerLocked takes the answer to a HELLO.
func (c *Conn) answerLocked(k *carrier, f wire.Frame) error {
	switch f.Type {
	case wire.TypeWelcome:
		w, err := wire.ParseWelcome(f.Body)
		if err != nil {
			return err
		}
		return c.welcomeLocked(k, w)
	case wire.TypeRefused:
		return c.refusedLocked(f.Body)
	case wire.TypeGone:
		return c.goneLocked(f.Body, k.token)
	}
	return fmt.Errorf("%w: %v answers a HELLO", wire.ErrOrder, f.Type)
}

// refusedLocked ends an opening; a session lives on (§5.6).
func (c *Conn) refusedLocked(body []byte) error {
	r, err := wire.ParseRefused(body)
	if err != nil {
		return err
	}
	no := &Refused{int(r.Status), r.Text}
	if c.welcome == nil {
		c.endLocked(no, 0)
	}
	c.keep.patient(time.Duration(r.Retry) * time.Millisecond)
	return no
}

// welcomeLocked: the carrier is attached (§5.3).
func (c *Conn) welcomeLocked(k *carrier, w *wire.Welcome) error {
	switch took := c.in.ack(); {
	case w.Version != wire.Version:
		return fmt.Errorf("server speaks version %d", w.Version)
	case c.welcome != nil && w.Session != c.welcome.Session:
		k.stray = w
		return errStray
	case w.Lowest > took.Next():
		c.endLocked(&Gone{"gap"}, 0)
		return c.err
	}
	first := c.welcome == nil
	c.welcome, k.welcome, k.welcomed = w, w, time.Now()
	c.out.window = min(w.Window, max(mostKept, uint64(c.o.Window)))
	if k.token == c.tokens.newest() { // else it came late, and brings no newer one (§5.4)
		c.tokens.learn(w.Token)
	}
	if _, err := c.out.ack(w.Ack()); err != nil {
		return err
	}
	signal(c.room)
	if k.kind == wire.Stream { // its answer says nothing of what was dropped behind the HELLO
		k.ping = c.out.taken.before(k.at)
	}
	if first {
		c.keep.protocol = w.Protocol
		close(c.opened)
	}
	c.attachedLocked(k)
	return nil
}

// attachedLocked finds what a welcomed carrier is for.
func (c *Conn) attachedLocked(k *carrier) {
	for _, other := range c.carriers {
		if late := k.welcomed.Add(raceOn); !other.proven() && c.used == nil && other.limit.After(late) {
			other.limit = late
		}
	}
	switch k.kind {
	case wire.WebSocket:
		c.keep.wsFailed, c.keep.mute = false, false // what was found of another network
	case wire.Stream:
		c.keep.mute = false
	case wire.Poll:
		if c.keep.mute {
			c.keep.mute = false
			c.o.Memory.mute(c.ws.Host, k.welcomed)
		}
	}
	c.keep.leaving, c.keep.notBefore = false, time.Time{}
	k.judgeLocked()
	if c.used == nil || k.replaces(c.used) || rank[k.kind] > rank[c.used.kind] {
		c.moveLocked(k)
	}
	signal(c.kick)
}

// rank orders the kinds: to a higher one a session is moved.
var rank = map[wire.Kind]int{wire.Poll: 1, wire.Stream: 2, wire.WebSocket: 3}

// moveLocked puts a proven carrier to use (§6.3).
func (c *Conn) moveLocked(k *carrier) {
	if c.used != nil && time.Since(c.used.welcomed) >= shortLife {
		c.keep.cuts = 0 // it was not cut
	}
	beside := c.used != nil
	c.used = k
	c.reachedLocked(k)
	signal(k.chosen)
	if k.turn != c.turn || k.turn == 0 {
		c.turn++
		k.turn, k.use, k.answered = c.turn, true, false
		k.ping = k.kind == wire.WebSocket // whose PONG says that the USE came
		if k.ping && beside {
			k.askLocked(time.Now(), raceOn) // for so long the one before is there still
		}
	}
	c.in.untold()
	c.keep.ackWaits = false // the one before may have had longer
	c.acknowledgeLocked()
	k.nudge()
}
