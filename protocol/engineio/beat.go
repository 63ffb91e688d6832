package engineio

import "time"

// firstRequest is how long a client that has its sid may take for its first request
// with it: opening sessions and leaving them must not fill the table.
const firstRequest = 10 * time.Second

// A beat is when a client is asked for a sign of life, and by when it has to answer.
// The time runs from the asking, whether or not a poll is open to carry the ping, and
// on busy links too: clients give up a server whose pings do not come. It is the
// engine's own, and under its lock.
type beat struct {
	timer    *time.Timer
	at       time.Time // the next ping, or the end of the wait for a pong
	firstBy  time.Time // the first request; zero: it came
	asked    bool      // a pong is awaited
	owed     bool      // the ping is not yet in an answer or a frame
	heard    bool      // something else of the client's came since
	extended bool      // and gave it more time, once
}

// start starts the clock. fresh says that the client's first request is still to
// come. The caller holds mu.
func (e *engine) start(fresh bool, now time.Time) {
	s := &e.handler.Settings
	b := &e.beat
	b.at = now.Add(s.PingInterval)
	if fresh {
		b.firstBy = now.Add(min(firstRequest, s.PingInterval+s.PingTimeout))
	}
	b.timer = time.AfterFunc(b.next().Sub(now), e.tick)
}

// next is when something is due.
func (b *beat) next() time.Time {
	if !b.firstBy.IsZero() && b.firstBy.Before(b.at) {
		return b.firstBy
	}
	return b.at
}

func (b *beat) stop() {
	if b.timer != nil {
		b.timer.Stop()
	}
}

// tick does what is due.
func (e *engine) tick() {
	e.mu.Lock()
	b, now := &e.beat, time.Now()
	asks := false
	switch {
	case e.over:
		e.mu.Unlock()
		return
	case !b.firstBy.IsZero() && !now.Before(b.firstBy):
		e.finish(silent)
		return
	case now.Before(b.at):
	case !b.asked:
		asks = true
		b.asked, b.owed, b.heard, b.extended = true, true, false, false
		b.at = now.Add(e.handler.Settings.PingTimeout)
	case e.busy(): // and once that is over, the client has as long as it would have had
		b.at = now.Add(e.handler.Settings.PingTimeout)
		b.heard, b.extended = true, false
	case b.heard && !b.extended:
		b.extended = true
		b.at = now.Add(e.handler.Settings.PingTimeout)
	default:
		e.finish(silent)
		return
	}
	b.timer.Reset(b.next().Sub(now))
	if asks {
		e.stir()
		return
	}
	e.mu.Unlock()
}

// busy reports whether the client may be kept from answering by what is under way:
// an answer that it has yet to read, a message that the backend has yet to take, or a
// change of transport. Each has a bound of its own.
func (e *engine) busy() bool {
	return e.writing > 0 || e.sending > 0 ||
		e.socket != nil && e.socket.writing || e.candidate != nil && e.candidate.probed
}

// ponged has the client's answer, which is no answer before the ping has left.
func (e *engine) ponged() {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := &e.beat
	if !b.asked || b.owed || e.over {
		return
	}
	now := time.Now()
	b.asked = false
	b.at = now.Add(e.handler.Settings.PingInterval)
	b.timer.Reset(b.next().Sub(now))
}

// arrived says that the client has used its sid. The caller holds mu.
func (e *engine) arrived() { e.beat.firstBy = time.Time{} }
