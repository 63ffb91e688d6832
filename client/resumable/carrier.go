package resumable

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sidecar/protocol/resume/wire"
)

// A carrier is one of §3, from its HELLO on. It has goroutines of its own, which end
// when ctx does; all below is guarded by the Conn's mutex.
type carrier struct {
	c      *Conn
	kind   wire.Kind
	born   uint64 // its generation
	ctx    context.Context
	cancel context.CancelCauseFunc
	wake   chan struct{}
	chosen chan struct{} // told when it is put to use

	over     bool
	begun    time.Time
	limit    time.Time // when it must be welcomed
	asks     uint64    // the turn in its HELLO
	turn     uint64    // the highest that named it, in its HELLO or by USE
	token    string    // that its HELLO named
	opens    bool      // the HELLO named no session
	next     bool      // it is to take the place of the one in use, which is of its kind
	check    bool      // and that is lost if this one gets no answer
	welcome  *wire.Welcome
	welcomed time.Time
	answered bool // something came behind the WELCOME, and behind the USE if there was one
	use      bool // a USE is to be sent
	at       position
	pong     []byte // mark of a PING that waits for its answer

	heard     time.Time
	asked     time.Time     // when a PING went; zero: none waits for an answer
	ping      bool          // one is to be sent
	patience  time.Duration // for the answer
	judging   *time.Timer
	sending   bool          // a send is in flight
	stray     *wire.Welcome // to another session
	succeeded bool          // its successor was begun
	multi     bool          // many requests go over one connection: HTTP/2
}

// helloData is the most bytes of messages that go with a HELLO: on a slow path the WELCOME
// would be long in coming behind more.
const helloData = 4 << 10

func (k *carrier) proven() bool { return k.welcome != nil }

// nudge tells the writer that there may be something to send.
func (k *carrier) nudge() {
	if k != nil {
		signal(k.wake)
	}
}

// helloLocked is what begins a carrier: a HELLO, and where it resumes by the only
// carrier also what is to go up.
func (c *Conn) helloLocked(k *carrier) ([]byte, error) {
	h := wire.Hello{
		Version: wire.Version, Attempt: c.attempt, Generation: k.born, Use: k.turn,
		Window: c.in.window, Position: wire.Position{Lowest: 1},
	}
	k.opens = c.welcome == nil
	if k.opens {
		h.Protocols = c.o.Subprotocols
		return h.Append(nil)
	}
	k.token = c.tokenLocked(k)
	h.Session, h.Token = c.welcome.Session, k.token
	a := c.in.ack()
	h.Position = wire.Position{Received: a.Received, Ahead: a.Ahead, Partial: a.Partial, Lowest: c.out.first}
	body, err := h.Append(nil)
	if err == nil && k.turn != 0 && len(c.carriers) == 1 {
		body, k.at = c.out.append(body, position{}, helloData)
	}
	return body, err
}

// tokenLocked is the token to name, but for what k's own HELLO named.
func (c *Conn) tokenLocked(but *carrier) string {
	var unanswered []string
	for _, k := range c.carriers {
		if k != but && !k.proven() && k.token != "" {
			unanswered = append(unanswered, k.token)
		}
	}
	return c.tokens.name(unanswered)
}

// hear takes a frame that came by k; an answer's is to a request that named a token. An
// error ends the carrier.
func (k *carrier) hear(f wire.Frame, named string) error {
	c := k.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.over {
		return errDropped
	}
	err := c.frameLocked(k, f, named)
	if f := (*fault)(nil); errors.As(err, &f) {
		c.endLocked(fmt.Errorf("server broke the protocol: %w", err), f.code)
		if k == c.used {
			return nil // it carries the CLOSE
		}
	}
	return err
}

// frameLocked takes one frame.
func (c *Conn) frameLocked(k *carrier, f wire.Frame, named string) error {
	switch {
	case f.Type.Optional() || f.Type == wire.TypePad:
		return nil
	case c.err != nil:
		return c.afterEndLocked(k, f)
	case !f.Type.FromServer():
		return fmt.Errorf("%w: %v from a server", wire.ErrOrder, f.Type)
	case !k.proven():
		return c.answerLocked(k, f)
	}
	c.progressLocked(k, f)
	switch f.Type {
	case wire.TypeWelcome, wire.TypeRefused:
		return fmt.Errorf("%w: a second %v", wire.ErrOrder, f.Type)
	case wire.TypeGone:
		return c.goneLocked(f.Body, named)
	case wire.TypeData:
		return c.dataLocked(f.Body)
	case wire.TypeAck:
		return c.ackLocked(f.Body)
	case wire.TypeClose:
		return c.closeLocked(f.Body)
	case wire.TypePing:
		k.pong = append(make([]byte, 0, 8), f.Body...)
		k.nudge()
	case wire.TypeGoaway:
		return c.goawayLocked(k, f.Body)
	}
	return nil
}

// afterEndLocked: only what our last words wait for counts, and whether they are in vain.
func (c *Conn) afterEndLocked(k *carrier, f wire.Frame) error {
	switch {
	case f.Type == wire.TypeAck && k.proven():
		return c.ackLocked(f.Body)
	case f.Type == wire.TypeGone:
		return c.goneLocked(f.Body, "")
	}
	return nil
}

// progressLocked: the carrier works. Behind a USE only what answers it says so: on a
// WebSocket the PONG, and for requests the end of their answer.
func (c *Conn) progressLocked(k *carrier, f wire.Frame) {
	c.keep.tries = 0
	if named := k.turn != k.asks; k.answered || named && (k.kind != wire.WebSocket || f.Type != wire.TypePong) {
		return
	}
	k.answered = true
	signal(c.kick)
}

func (c *Conn) dataLocked(body []byte) error {
	d, err := wire.ParseData(body)
	if err != nil {
		return err
	}
	err = c.in.data(d)
	if len(c.in.queue) > 0 {
		signal(c.came)
	}
	c.acknowledgeLocked()
	return err
}

func (c *Conn) ackLocked(body []byte) error {
	a, err := wire.ParseAck(body)
	if err != nil {
		return err
	}
	room, err := c.out.ack(a)
	if room {
		signal(c.room)
		c.used.nudge() // what a window held back
	}
	return err
}

func (c *Conn) closeLocked(body []byte) error {
	cl, err := wire.ParseClose(body)
	if err != nil {
		return err
	}
	if err := c.in.close(cl); err != nil {
		return err
	}
	c.ackDue = true
	c.endLocked(&CloseError{cl.Code, cl.Reason}, 0)
	return nil
}

func (c *Conn) goawayLocked(k *carrier, body []byte) error {
	within, err := wire.ParseGoaway(body)
	if err != nil {
		return err
	}
	c.keep.leave = time.Duration(min(within, uint64(maxWithin/time.Millisecond))) * time.Millisecond
	c.keep.leaving = true
	c.ackDue = c.ackDue || c.in.news()
	k.nudge()
	return nil
}

// maxWithin bounds a GOAWAY: nobody drains for longer.
const maxWithin = time.Hour

// goneLocked is the end, but for the carrier that named an old token, or none (§5.4).
func (c *Conn) goneLocked(body []byte, named string) error {
	g, err := wire.ParseGone(body)
	if err != nil {
		return err
	}
	end := &Gone{g.Reason}
	late := c.welcome != nil && named != c.tokens.newest()
	if g.Reason != "unknown" || !late {
		c.endLocked(end, 0)
	}
	return end
}
