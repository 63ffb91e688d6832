//go:build linux

package load

import (
	"errors"
	"fmt"
	"net/netip"
)

// A Way is how a resumable session is carried over HTTP.
type Way int

const (
	// PollAndSend sends each message by a `send`, beside a `poll` on a connection
	// of its own.
	PollAndSend Way = iota
	// PollAlone sends each message in the body of the `poll` that brings its echo.
	PollAlone
	// StreamAndSend sends each message by a `send`; its echo comes by a stream.
	StreamAndSend
)

// A caller is one client of a resumable session over HTTP.
type caller struct {
	l        *loop
	voice    *voice
	talk     *talk
	way      Way
	down, up *line
	// under is how many requests are under way, but for a stream, and waiting
	// whether an echo is.
	under   int
	waiting bool
	// rested is told when neither is any more.
	rested func() error
	frames []byte // of a stream: no whole one yet
	begun  bool   // it has its head
}

// newCaller connects to addr as the n-th client and opens a session; then opened
// is told.
func newCaller(l *loop, addr netip.AddrPort, n, size int, way Way, opened func(*caller) error) *caller {
	c := &caller{l: l, voice: newVoice(size), talk: newTalk(), way: way}
	c.talk.news = c.echo
	c.talk.opened = func() error { return opened(c) }
	c.down = newLine(l, addr, n)
	if c.up = c.down; way != PollAlone {
		c.up = newLine(l, addr, n)
	}
	if way == StreamAndSend {
		c.down.s.take = c.stream
		c.down.post("/bench?sidecar=stream", c.talk.hello(), nil)
		return c
	}
	c.down.post("/bench?sidecar=poll", c.talk.hello(), c.talk.takeAll)
	return c
}

func (c *caller) echo(got []byte) error {
	if !c.waiting {
		return errors.New("a message came that nobody sent")
	}
	c.waiting = false
	return c.voice.check(got)
}

// over tells rested if nothing is under way.
func (c *caller) over() error {
	if c.under > 0 || c.waiting {
		return nil
	}
	return c.rested()
}

// round sends the next message, and asks for its echo.
func (c *caller) round() {
	c.voice.next()
	c.waiting = true
	if c.way == PollAlone {
		c.poll(c.talk.say(c.talk.front(), c.voice.want))
		return
	}
	if c.way == PollAndSend {
		c.poll(c.talk.front())
	}
	c.send(c.talk.say(c.talk.front(), c.voice.want))
}

// poll asks for what comes, and once more if nothing did.
func (c *caller) poll(body []byte) {
	c.under++
	c.down.post("/bench?sidecar=poll", body, func(b []byte) error {
		c.under--
		if err := c.answered(b); err != nil {
			return err
		}
		if c.waiting || c.rested == nil {
			c.poll(c.talk.front())
			return nil
		}
		return c.over()
	})
}

// send sends what body has, which must be taken whole.
func (c *caller) send(body []byte) {
	c.under++
	c.up.post("/bench?sidecar=send", body, func(b []byte) error {
		c.under--
		if err := c.answered(b); err != nil {
			return err
		}
		if c.talk.taken < c.talk.said {
			return fmt.Errorf("a send was answered with %#x; it had message %d", b, c.talk.said)
		}
		return c.over()
	})
}

// answered takes the answer to a request that goes on with a session (section 3.2).
func (c *caller) answered(b []byte) error {
	if len(b) == 0 || b[0] != partAck {
		return fmt.Errorf("a request was answered with %q; want an ACK first", b)
	}
	return c.talk.takeAll(b)
}

// stream takes what came of an endless answer.
func (c *caller) stream(b []byte) ([]byte, error) {
	if !c.begun {
		rest, err := begun(b)
		if errors.Is(err, errShort) {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
		b, c.begun = rest, true
	}
	for {
		chunk, rest, err := cutChunk(b)
		if errors.Is(err, errShort) {
			return b, nil
		}
		if err == nil {
			err = c.pieces(chunk)
		}
		if err != nil {
			return nil, err
		}
		b = rest
	}
}

// pieces takes a chunk, which frames need not end with.
func (c *caller) pieces(chunk []byte) error {
	waited := c.waiting
	rest, err := c.talk.take(append(c.frames, chunk...))
	if c.frames = append(c.frames[:0], rest...); err == nil && waited && !c.waiting {
		err = c.over()
	}
	return err
}
