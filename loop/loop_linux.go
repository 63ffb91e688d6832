//go:build !loop_portable

package loop

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Native says that loops are what they are for here: many sockets, few goroutines.
const Native = true

// batch is how many events are taken at once.
const batch = 256

// A Loop is one epoll instance and the goroutine that serves it.
//
// The epoll descriptor itself sits in Go's own poller. A thread that blocked in
// epoll_wait would have its processor taken away by the scheduler each time,
// which at low rates costs nearly twice as much.
type Loop struct {
	file *os.File // the epoll descriptor
	raw  syscall.RawConn
	done chan struct{}

	mu      sync.Mutex // held during callbacks and Do
	sockets []*Socket  // by place, nil where nobody is
	free    []uint32   // places where nobody is
	wheel   wheel
	start   time.Time // of tick 0
	armed   uint64    // the tick for which file's deadline is set; 0: none
	serial  uint32    // of the last socket added
	stopped bool
	events  [batch]unix.EpollEvent
	scratch [ScratchSize]byte
}

// Start begins a loop. Stop ends it.
func Start() (*Loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making an epoll instance: %w", err)
	}
	if err := unix.SetNonblock(ep, true); err != nil {
		unix.Close(ep)
		return nil, fmt.Errorf("making an epoll instance: %w", err)
	}
	l := &Loop{file: os.NewFile(uintptr(ep), "epoll"), done: make(chan struct{}), start: time.Now()}
	if l.raw, err = l.file.SyscallConn(); err != nil {
		l.file.Close()
		return nil, fmt.Errorf("making an epoll instance: %w", err)
	}
	if err := l.file.SetReadDeadline(time.Time{}); err != nil {
		l.file.Close() // it did not get into the poller
		return nil, fmt.Errorf("making an epoll instance: %w", err)
	}
	go l.run()
	return l, nil
}

// Do runs f while no callback of l runs. It must not be called within one.
func (l *Loop) Do(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	l.arm()
}

// Scratch is a buffer for whatever a callback reads; the next callback has it then.
func (l *Loop) Scratch() []byte { return l.scratch[:] }

// Len is the number of sockets in l. It may be called only within a callback or Do.
func (l *Loop) Len() int { return len(l.sockets) - len(l.free) }

// Stop ends l and waits for it. Sockets that are still in it are closed without
// a callback, and no callback runs after it has returned.
func (l *Loop) Stop() {
	l.mu.Lock()
	if !l.stopped {
		l.stopped = true
		for _, s := range l.sockets {
			if s != nil {
				s.Close()
			}
		}
		l.file.SetReadDeadline(time.Unix(1, 0))
	}
	l.mu.Unlock()
	<-l.done
}

// run waits for events and deadlines until Stop.
func (l *Loop) run() {
	defer close(l.done)
	defer l.file.Close()
	n := 0
	poll := func(fd uintptr) bool { // made once: it would be an allocation each turn
		n = l.poll(int(fd))
		return n > 0
	}
	for {
		n = 0
		err := l.raw.Read(poll)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			panic(fmt.Sprintf("loop: waiting for events: %v", err)) // the descriptor is ours alone
		}
		if l.turn(n, err != nil) {
			return
		}
	}
}

// poll takes events that are there, without waiting.
func (l *Loop) poll(fd int) int {
	for {
		n, err := harvest(fd, l.events[:])
		if err != unix.EINTR {
			return max(n, 0)
		}
	}
}

// turn serves n events and what timers are due, and reports whether l was stopped.
// late says that the deadline has passed: until it is moved no event gets through.
func (l *Loop) turn(n int, late bool) (stopped bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return true
	}
	for i := range n {
		l.serve(&l.events[i])
	}
	l.wheel.turn(l.ticks(time.Now()), func(t *Timer) { t.Expired.Expire() })
	if late && !l.stopped {
		l.armed = 0
		l.file.SetReadDeadline(time.Time{})
	}
	l.arm()
	return l.stopped
}

// serve tells a socket of its event. The serial number keeps an event of a socket
// that was closed since epoll reported it from reaching the one that has its place now.
func (l *Loop) serve(e *unix.EpollEvent) {
	if int(e.Fd) >= len(l.sockets) {
		return
	}
	s := l.sockets[e.Fd]
	if s == nil || s.serial != uint32(e.Pad) {
		return
	}
	var ev Events
	if e.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLRDHUP) != 0 {
		ev |= Readable
	}
	if e.Events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		ev |= Writable
	}
	if ev &= s.watched; ev != 0 {
		s.handler.Ready(s, ev)
	}
}
