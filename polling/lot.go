package polling

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"sidecar/loop"
)

const (
	defaultIdle  = 75 * time.Second
	defaultAfter = 250 * time.Millisecond
	// burst is how many seats are no longer worth to be kept ready.
	burst = 1024
)

// A Lot is where connections wait without a goroutine: with a poll whose answer is
// held back, or a stream for what follows in it, then for the client to take that, then
// for the client's next request.
// Its exported fields do not change while it is in use. Its connections must be
// TCP or unix sockets, or wrap one and have a method NetConn that returns it.
type Lot struct {
	// Loops watch the connections. They must run until Close has returned.
	Loops *loop.Group
	// GiveBack gets connections whose next request has begun to come, to be served
	// anew. It must not wait, nor call back: it runs under a loop's lock.
	GiveBack func(net.Conn)
	// Idle is how long a connection may wait for its next request; then it is
	// closed. Default 75s.
	Idle time.Duration
	// After is how long a poll keeps its goroutine before it is parked. Most polls
	// of a busy session are answered by then, and parking would only cost: as much
	// as the rest of a round trip. Streams are parked at once. Default 250ms; negative:
	// none.
	After time.Duration

	calls sync.WaitGroup // of callbacks that were begun in a loop's callback

	mu      sync.Mutex // guards what follows; after the loops' locks
	seats   map[*seat]struct{}
	most    int // of seats, since there were none
	closing bool
	empty   chan struct{} // closed once closing is set and nobody is left
}

// Len is how many connections are in the lot.
func (l *Lot) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seats)
}

// Close closes what idles, has all answers from now on close their connections,
// and returns when no connection is left and their callbacks have returned. Once
// ctx is done it cuts those that are left, and says how many of them were owed an
// answer, or the rest of one; polls among them are gone. Whoever comes later is not
// parked. It may be called again.
func (l *Lot) Close(ctx context.Context) (cut int) {
	l.Shut()
	l.each(func(s *seat) { s.retire() })
	select {
	case <-l.empty:
	case <-ctx.Done():
		l.each(func(s *seat) {
			if s.cut() {
				cut++
			}
		})
		<-l.empty
	}
	l.calls.Wait()
	return cut
}

// each has f called for each seat within its loop's Do.
func (l *Lot) each(f func(*seat)) {
	l.mu.Lock()
	all := slices.Collect(maps.Keys(l.seats))
	l.mu.Unlock()
	for _, s := range all {
		s.loop.Do(func() { f(s) })
	}
}

// Shut has all answers from now on close their connections, and lets nobody in any
// more. Close does it too; whoever stops the server that takes back what GiveBack is
// given calls it before, or a client that sent its next request ahead could be cut
// off behind an answer that is still on its way. It may be called again.
func (l *Lot) Shut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closing {
		l.closing, l.empty = true, make(chan struct{})
		if len(l.seats) == 0 {
			close(l.empty)
		}
	}
}

// isClosing reports whether answers are to close their connections.
func (l *Lot) isClosing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closing
}

// enter reserves a seat, so that Close waits for who is about to take it. Nil:
// nobody may come any more.
func (l *Lot) enter() *seat {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return nil
	}
	s := &seat{lot: l, loop: l.Loops.Pick()}
	s.timer.Expired = s
	if l.seats == nil {
		l.seats = map[*seat]struct{}{}
	}
	l.seats[s] = struct{}{}
	l.most = max(l.most, len(l.seats))
	return s
}

// leave takes s out. What calls back for it must have been started before.
func (l *Lot) leave(s *seat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seats, s)
	if len(l.seats) > 0 {
		return
	}
	if l.most > burst {
		l.seats, l.most = nil, 0 // a map does not shrink
	}
	if l.closing {
		close(l.empty)
	}
}

func (l *Lot) idle() time.Duration { return orDefault(l.Idle, defaultIdle) }

func (l *Lot) after() time.Duration {
	if l.After == 0 {
		return defaultAfter
	}
	return max(0, l.After)
}

// An alarm rings when a poll is to be parked. It is a loop's timer: most alarms
// never ring, and each timer of Go's own would wake a thread to wait for it.
type alarm struct {
	timer loop.Timer
	loop  *loop.Loop
	rang  chan struct{} // closed when it has
}

// setAlarm sets one that rings once a poll had its time.
func (l *Lot) setAlarm() *alarm {
	a := &alarm{rang: make(chan struct{})}
	after := l.after()
	if after == 0 {
		close(a.rang)
		return a
	}
	a.timer.Expired, a.loop = a, l.Loops.Pick()
	a.loop.Do(func() { a.loop.SetTimer(&a.timer, time.Now().Add(after)) })
	return a
}

// Expire is the timer's word.
func (a *alarm) Expire() { close(a.rang) }

func (a *alarm) stop() {
	if a.loop != nil {
		a.loop.Do(func() { a.loop.StopTimer(&a.timer) })
	}
}
