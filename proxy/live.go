package proxy

import (
	"context"
	"sync"
	"time"
)

// A Live is the set of relayed connections. Its zero value is ready. It outlives
// the routes that its connections came by.
type Live struct {
	mu sync.Mutex
	// relays are by place, nil where nobody is: a map would take three times as
	// much, and keep it after a burst.
	relays []relayed
	free   []uint32      // places where nobody is
	idle   chan struct{} // set while somebody waits for the set to be empty
	// draining is set once Drain has begun: what opens then is told at once.
	draining bool
	code     int
	reason   string
	ends     []func() // what is still to be done for relays that have ended
	ending   bool     // a goroutine is at it
}

// Len is the number of connections being relayed.
func (l *Live) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count()
}

func (l *Live) count() int { return len(l.relays) - len(l.free) }

// A relayed is one connection, whatever moves its bytes.
type relayed interface {
	start(early []byte)               // early are bytes that came with the backend's handshake
	shutdown(code int, reason string) // asks both ends to close
	cut()                             // ends it at once
}

// add takes r in, at the place by which remove finds it, and reports whether r is
// to be shut down at once. l cannot do it, for a relay has locks of its own and
// calls remove under them.
func (l *Live) add(r relayed) (place uint32, draining bool, code int, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last := len(l.free) - 1; last >= 0 {
		place, l.free = l.free[last], l.free[:last]
		l.relays[place] = r
	} else {
		place = uint32(len(l.relays)) // descriptors are fewer
		l.relays = append(l.relays, r)
	}
	return place, l.draining, l.code, l.reason
}

func (l *Live) remove(place uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.relays[place] = nil
	l.free = append(l.free, place)
	if l.count() > 0 {
		return
	}
	l.relays, l.free = nil, nil
	if l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

// Drain asks every connection to close with the code and reason, spread evenly
// over spread, and waits until all have ended or ctx is done; then it cuts the
// rest and reports how many those were. Connections that open meanwhile or later
// are asked at once. It may be called again once it has returned.
func (l *Live) Drain(ctx context.Context, spread time.Duration, code int, reason string) (cut int) {
	all, idle := l.begin(code, reason)
	l.ask(ctx, all, spread, idle)
	select {
	case <-idle:
		return 0
	case <-ctx.Done():
	}
	rest := l.list()
	for _, r := range rest {
		r.cut()
	}
	select { // nothing blocks a relay that was cut, but writing its line to the log may
	case <-idle:
	case <-time.After(closeGrace):
	}
	return len(rest)
}

// Later has f, which may block, run behind whatever else is to be done for what has
// ended. A drain waits for it: such is a line in the log about a session, whose last
// connection may be gone before.
func (l *Live) Later(f func()) {
	place, _, _, _ := l.add(afterwards{})
	l.ended(func() {
		f()
		l.remove(place)
	})
}

// afterwards stands for what is still to be done for one that has ended.
type afterwards struct{}

func (afterwards) start([]byte)         {}
func (afterwards) shutdown(int, string) {}
func (afterwards) cut()                 {}

// ended has f, which may block, run behind all others by one goroutine, which ends
// when there is no more to do. One for each would be as many as there are
// connections when a backend crashes.
func (l *Live) ended(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends = append(l.ends, f)
	if !l.ending {
		l.ending = true
		go l.settle()
	}
}

func (l *Live) settle() {
	for f := l.next(); f != nil; f = l.next() {
		f()
	}
}

func (l *Live) next() func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ends) == 0 {
		l.ends, l.ending = nil, false
		return nil
	}
	f := l.ends[0]
	l.ends = l.ends[1:]
	return f
}

// begin marks l as draining, and returns who is in it and what is closed once
// nobody is.
func (l *Live) begin(code int, reason string) (all []relayed, idle chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draining, l.code, l.reason = true, code, reason
	idle = make(chan struct{})
	if l.count() == 0 {
		close(idle)
		return nil, idle
	}
	l.idle = idle
	return l.all(), idle
}

func (l *Live) list() []relayed {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all()
}

// all is everybody, under the lock.
func (l *Live) all() []relayed {
	all := make([]relayed, 0, l.count())
	for _, r := range l.relays {
		if r != nil {
			all = append(all, r)
		}
	}
	return all
}

// ask asks all to close, evenly spread, so that their clients do not come back
// all at once. It stops early when nobody is left.
func (l *Live) ask(ctx context.Context, all []relayed, spread time.Duration, idle <-chan struct{}) {
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, r := range all {
		at := start.Add(spread * time.Duration(i) / time.Duration(len(all)))
		if wait := time.Until(at); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-idle:
				return
			case <-ctx.Done():
				return
			}
		}
		r.shutdown(l.code, l.reason)
	}
}
