// Package heartbeat decides when a silent peer is to be probed and when it is
// lost. It holds no timer and writes nothing: a connection has one writer, and
// that writer asks its Pulse what is due.
package heartbeat

import (
	"errors"
	"fmt"
	"time"
)

// A Policy says how long a peer may be silent before it is probed, and how long
// it then has to show life.
type Policy struct {
	// Interval is the silence after which a probe is sent. Zero: never, and then
	// nobody is given up either. Default 20s.
	Interval time.Duration `yaml:"interval"`
	// Timeout is what the peer has to answer in, from the probe on. Zero: it is
	// probed (which keeps middleboxes from forgetting the connection) but never
	// given up. Default 10s.
	Timeout time.Duration `yaml:"timeout"`
}

// Default is the policy of a configuration that names none.
func Default() Policy { return Policy{Interval: 20 * time.Second, Timeout: 10 * time.Second} }

// minInterval keeps a mistyped unit (20ms for 20s) from becoming a ping flood.
const minInterval = 50 * time.Millisecond

// Validate reports what is wrong with p, each fault as "key: what and remedy".
func (p Policy) Validate() error {
	var faults []error
	if p.Interval < 0 || p.Interval > 0 && p.Interval < minInterval {
		faults = append(faults, fmt.Errorf("interval: %v must be 0s (off) or at least %v", p.Interval, minInterval))
	}
	if p.Timeout < 0 || p.Timeout > 0 && p.Timeout < minInterval {
		faults = append(faults, fmt.Errorf("timeout: %v must be 0s (never give up) or at least %v", p.Timeout, minInterval))
	}
	return errors.Join(faults...)
}

// An Action is what a Pulse asks of the connection's writer.
type Action uint8

const (
	None  Action = iota // nothing until the time that came with it
	Probe               // send a probe, then call Sent
	Lost                // the peer has been silent too long
)

// Never is the time that comes with None when nothing will ever be due.
var Never time.Time

// A Pulse is the heartbeat of one hop of one connection. It is a plain value:
// whoever shares it between goroutines guards it. The policy it follows is not in
// it but comes with each question, for it is the same for thousands.
type Pulse struct {
	seen moment // the last sign of life, or a made-up one that jitters the first probe
	sent moment // the unanswered probe; zero: none
}

// A moment is a time in eight bytes: nanoseconds since origin, by the monotonic
// clock where there is one.
type moment int64

// origin is sixty years before the program's start, before all that it may be
// told: so zero can mean never, also to a test whose clock begins in 2000.
var origin = time.Now().Add(-60 * 365 * 24 * time.Hour)

func momentOf(t time.Time) moment { return moment(t.Sub(origin)) }

func (m moment) time() time.Time { return origin.Add(time.Duration(m)) }

// Start begins the heartbeat of a peer that showed life now. jitter, in [0, 1),
// brings the first probe forward by up to half an interval, so that connections
// opened together are not probed together for ever after.
func (p Policy) Start(now time.Time, jitter float64) Pulse {
	early := time.Duration(jitter * float64(p.Interval) / 2)
	return Pulse{seen: momentOf(now.Add(-early))}
}

// Seen records a sign of life: any byte will do.
func (p *Pulse) Seen(now time.Time) { *p = Pulse{seen: momentOf(now)} }

// Sent records that a probe is on its way, or that something stands in its
// place, such as the other end's own ping. The peer's time to answer begins.
func (p *Pulse) Sent(now time.Time) { p.sent = momentOf(now) }

// Away says that for d the peer was not listened to, which is not its silence:
// all that it owes is put off by as much.
func (p *Pulse) Away(d time.Duration) {
	p.seen += moment(d)
	if p.sent != 0 {
		p.sent += moment(d)
	}
}

// Probed reports whether a probe waits for an answer, and since when.
func (p *Pulse) Probed() (since time.Time, yes bool) {
	if p.sent == 0 {
		return time.Time{}, false
	}
	return p.sent.time(), true
}

// Next says what is due now by the policy that p was started with. With None
// comes the time at which to ask again, or Never. A caller that was itself stopped
// or overloaded asks late, and the answer may wait unread: it must read once more
// before it believes Lost.
func (p *Pulse) Next(by Policy, now time.Time) (Action, time.Time) {
	switch {
	case by.Interval == 0:
		return None, Never
	case p.sent == 0:
		return due(Probe, p.seen.time().Add(by.Interval), now)
	case by.Timeout == 0:
		// Unanswered for ever is allowed; go on probing.
		return due(Probe, p.sent.time().Add(by.Interval), now)
	}
	return due(Lost, p.sent.time().Add(by.Timeout), now)
}

func due(a Action, at, now time.Time) (Action, time.Time) {
	if now.Before(at) {
		return None, at
	}
	return a, now
}
