//go:build !linux || loop_portable

package loop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// Native says that loops are what they are for here: many sockets, few
// goroutines. Here they are not: who has the choice does better without.
const Native = false

// A Loop is a goroutine that makes the callbacks. Each socket has two more, which
// move its bytes and tell the loop.
type Loop struct {
	done  chan struct{}
	kick  chan struct{} // there is something for turn to do
	pumps sync.WaitGroup

	mu      sync.Mutex // held during callbacks and Do; before a pump's mu
	sockets map[*pump]*Socket
	wheel   wheel
	start   time.Time // of tick 0
	armed   uint64    // the tick at which run wakes; 0: none
	stopped bool
	scratch [ScratchSize]byte

	queueMu sync.Mutex // held for no more than the queue; after all others
	queue   []*pump    // whose sockets may have become ready
}

// Start begins a loop. Stop ends it.
func Start() (*Loop, error) {
	l := &Loop{done: make(chan struct{}), kick: make(chan struct{}, 1), sockets: map[*pump]*Socket{}, start: time.Now()}
	go l.run()
	return l, nil
}

// Do runs f while no callback of l runs. It must not be called within one.
func (l *Loop) Do(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	if at, head := l.wheel.next(); head != nil && (l.armed == 0 || at < l.armed) {
		l.wake()
	}
}

// Scratch is a buffer for whatever a callback reads; the next callback has it then.
func (l *Loop) Scratch() []byte { return l.scratch[:] }

// Len is the number of sockets in l. It may be called only within a callback or Do.
func (l *Loop) Len() int { return len(l.sockets) }

// Stop ends l and waits for it. Sockets that are still in it are closed without
// a callback, and no callback runs after it has returned. What was written just
// before has up to a second to get out.
func (l *Loop) Stop() {
	l.mu.Lock()
	l.stopped = true
	for _, s := range l.sockets {
		s.Close()
	}
	l.mu.Unlock()
	l.wake()
	<-l.done
	l.pumps.Wait()
}

// run waits for sockets and deadlines until Stop.
func (l *Loop) run() {
	defer close(l.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-l.kick:
		case <-timer.C:
		}
		wait, stopped := l.turn()
		if stopped {
			return
		}
		timer.Reset(wait)
	}
}

// turn serves sockets that are ready and what timers are due, and says how long
// the next timer will take.
func (l *Loop) turn() (wait time.Duration, stopped bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return 0, true
	}
	for _, p := range l.taken() {
		l.serve(p)
	}
	l.wheel.turn(l.ticks(time.Now()), func(t *Timer) { t.Expired.Expire() })
	at, head := l.wheel.next()
	if l.armed = at; head == nil {
		return time.Hour, false
	}
	return time.Until(l.start.Add(time.Duration(at) * tick)), false
}

// serve tells a socket what it can do. What it leaves undone it hears again, after
// all others.
func (l *Loop) serve(p *pump) {
	s := l.sockets[p] // nil: it was removed since
	if s == nil {
		return
	}
	if ev := p.ready() & s.watched; ev != 0 {
		s.handler.Ready(s, ev)
		l.remind(p)
	}
}

// remind sees to it that p's socket is told of what it is watched for and has.
func (l *Loop) remind(p *pump) {
	if s := l.sockets[p]; s != nil && p.ready()&s.watched != 0 {
		l.post(p)
	}
}

// post has p served in the next turn. A pump calls it without locks.
func (l *Loop) post(p *pump) {
	l.queueMu.Lock()
	if !p.queued {
		p.queued = true
		l.queue = append(l.queue, p)
	}
	l.queueMu.Unlock()
	l.wake()
}

// taken is the queue, which is empty then.
func (l *Loop) taken() []*pump {
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	q := l.queue
	l.queue = nil
	for _, p := range q {
		p.queued = false
	}
	return q
}

func (l *Loop) wake() {
	select {
	case l.kick <- struct{}{}:
	default: // turn has not begun since the last one
	}
}

// A Socket is a connected TCP or unix socket in a loop. Its methods may be called
// only within a callback of its loop, or Do.
type Socket struct {
	loop    *Loop
	handler Handler
	pump    *pump // set while loop is
	watched Events
}

// Add takes the socket out of c and puts it into l as s, watched for ev. c is
// closed, in any case; what it had buffered above the socket is lost. s must not
// be in a loop. It may be called only within a callback or Do.
func (l *Loop) Add(s *Socket, c net.Conn, h Handler, ev Events) error {
	c, err := take(c)
	if err != nil {
		return err
	}
	if l.stopped {
		_ = c.Close() // it is in nobody's hands
		return ErrStopped
	}
	*s = Socket{loop: l, handler: h, pump: newPump(l, c)}
	l.sockets[s.pump] = s
	return s.Watch(ev)
}

// take duplicates c and closes it.
func take(c net.Conn) (net.Conn, error) {
	defer c.Close() // as promised
	d, ok := c.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("taking a socket: %T has none", c)
	}
	f, err := d.File()
	if err != nil {
		return nil, fmt.Errorf("taking a socket: %w", err)
	}
	defer f.Close() // FileConn duplicates it
	if c, err = net.FileConn(f); err != nil {
		return nil, fmt.Errorf("taking a socket: %w", err)
	}
	return c, nil
}

// Lend is not to be had here: a descriptor cannot be watched without being taken.
// The error is errors.ErrUnsupported.
func (l *Loop) Lend(s *Socket, c net.Conn, h Handler, ev Events) error {
	return fmt.Errorf("lending a socket: %w", errors.ErrUnsupported)
}

// Reclaim ends what Lend began: nothing.
func (s *Socket) Reclaim() {}

// Peek is as little to be had as Lend, for whose sockets it is.
func (s *Socket) Peek([]byte) (int, error) {
	return 0, fmt.Errorf("peeking at a socket: %w", errors.ErrUnsupported)
}

// Watch sets what s is watched for.
func (s *Socket) Watch(ev Events) error {
	s.watched = ev
	s.loop.remind(s.pump)
	return nil
}

// Watched is what s is watched for.
func (s *Socket) Watched() Events { return s.watched }

// Open reports whether s is in a loop.
func (s *Socket) Open() bool { return s.loop != nil }

// Read reads what is there, ErrWait where there is nothing, io.EOF at the end.
func (s *Socket) Read(b []byte) (int, error) { return s.pump.read(b) }

// Write writes as much of b as is taken now. n < len(b) without an error is
// possible; ErrWait means n is 0.
func (s *Socket) Write(b []byte) (int, error) { return s.pump.write(b) }

// CloseWrite says that no more will be written.
func (s *Socket) CloseWrite() error { return s.pump.shut() }

// Close takes s out of its loop and closes it, once what was written to it is
// out, or after a second. It may be called again.
func (s *Socket) Close() error {
	if s.loop == nil {
		return nil
	}
	return s.remove().finish()
}

// remove takes s out of its loop. From here on no callback of it runs: whatever
// its pump still posts belongs to nobody.
func (s *Socket) remove() *pump {
	p := s.pump
	delete(s.loop.sockets, p)
	*s = Socket{handler: s.handler}
	return p
}
