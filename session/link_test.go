package session

import (
	"math/rand/v2"
	"sync"
	"time"
)

// A frame is what the fake protocol that acknowledges by number says.
type frame struct {
	kind       kind
	n          uint64 // of the message or the close; acknowledged; received, in hello and welcome
	low        uint64 // welcome: the first that can be had again
	generation int    // of the client's links; hello and use
	m          Message
}

type kind string

// A link is one carrier, as the client and the server hold it: two pipes with
// faults of their own.
type link struct {
	up, down *pipe
	cut      chan struct{} // closed when the connection dies
	once     sync.Once
}

// A pipe is one direction of a link.
type pipe struct {
	trial  *trial
	link   *link
	in     chan frame
	out    chan frame    // closed in the end, if that can be seen
	left   chan struct{} // the sender has gone
	gone   chan struct{} // the receiver has
	dies   int           // the frame on which the link dies
	mute   int           // the frame from which on nothing arrives, not even the end
	delay  int           // the most milliseconds that a frame takes
	double bool          // every frame arrives twice
}

// newLink makes a link with random faults, or a healthy one.
func (t *trial) newLink(rng *rand.Rand, healthy bool) *link {
	l := &link{cut: make(chan struct{})}
	l.up, l.down = t.newPipe(l, rng, healthy), t.newPipe(l, rng, healthy)
	return l
}

func (t *trial) newPipe(l *link, rng *rand.Rand, healthy bool) *pipe {
	p := &pipe{
		trial: t, link: l, in: make(chan frame, 500), out: make(chan frame),
		left: make(chan struct{}), gone: make(chan struct{}),
		dies: -1, mute: -1, delay: []int{0, 10, 300, 2000}[rng.IntN(4)],
	}
	if !healthy {
		switch rng.IntN(4) {
		case 0:
			p.dies = rng.IntN(30)
		case 1:
			p.mute = rng.IntN(30)
		case 2:
			p.double = true
		}
	}
	t.wg.Add(1)
	go p.run(t.chance())
	return p
}

func (l *link) die() { l.once.Do(func() { close(l.cut) }) }

// send reports whether the frame was taken; not, that it arrives.
func (p *pipe) send(f frame) bool {
	select {
	case <-p.link.cut:
		return false
	case <-p.gone:
		return false
	default:
	}
	select {
	case p.in <- f:
		return true
	default: // more than a connection buffers
		p.link.die()
		return false
	}
}

func (p *pipe) run(rng *rand.Rand) {
	defer p.trial.wg.Done()
	silent := false
	defer func() {
		if !silent {
			close(p.out)
		}
	}()
	for i := 0; ; i++ {
		f, ok := p.next()
		switch {
		case p.mute >= 0 && i >= p.mute:
			if silent = true; !ok {
				return
			}
			continue
		case !ok:
			return
		case i == p.dies:
			p.link.die()
			return
		}
		if !p.carry(f, rng) {
			return
		}
	}
}

// next is what was sent, to the last of it before the end.
func (p *pipe) next() (frame, bool) {
	select {
	case f := <-p.in:
		return f, true
	case <-p.link.cut:
	case <-p.trial.ctx.Done():
	case <-p.left:
		select {
		case f := <-p.in:
			return f, true
		default:
		}
	}
	return frame{}, false
}

func (p *pipe) carry(f frame, rng *rand.Rand) bool {
	timer := time.NewTimer(ms(rng, p.delay))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.link.cut:
		return false
	case <-p.trial.ctx.Done():
		return false
	}
	for copies := 0; copies < 1 || p.double && copies < 2; copies++ {
		select {
		case p.out <- f:
		case <-p.gone:
			return true // into the void
		case <-p.link.cut:
			return false
		case <-p.trial.ctx.Done():
			return false
		}
	}
	return true
}
