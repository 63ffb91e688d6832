//go:build linux

package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// A loop drives many sockets from whichever goroutine calls run.
type loop struct {
	ep     int
	socks  []*socket // by descriptor
	events []unix.EpollEvent
	buf    []byte      // what one read takes
	err    error       // the first failure; it ends every run
	tls    *tls.Config // of the clients that are opened; nil: in clear
}

// A socket is one descriptor on a loop.
type socket struct {
	l  *loop
	fd int
	// ready is called when there is something to read; nil reads, and calls take.
	ready func()
	// take is given all bytes that it has not used yet, and returns those that
	// it does not use now.
	take func([]byte) ([]byte, error)
	// gone is called once the other end has ended, or the socket has failed.
	gone    func(error)
	tls     *layer // nil: in clear
	in, out []byte // begun and not used; not taken by the kernel
	last    bool   // close once out is empty
	sent    int    // bytes of TCP that were sent, and that came, in all
	got     int
}

func newLoop() (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making an epoll: %w", err)
	}
	return &loop{ep: ep, events: make([]unix.EpollEvent, 512), buf: make([]byte, 256<<10)}, nil
}

// run turns until done says so, or something fails. It asks done at least every
// ten milliseconds.
func (l *loop) run(done func() bool) error {
	for l.err == nil && !done() {
		n, err := unix.EpollWait(l.ep, l.events, 10)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for events: %w", err)
		}
		for _, ev := range l.events[:max(n, 0)] {
			l.turn(ev)
		}
	}
	return l.err
}

// runFor runs for d.
func (l *loop) runFor(d time.Duration) (time.Duration, error) {
	start := time.Now()
	err := l.run(func() bool { return time.Since(start) >= d })
	return time.Since(start), err
}

// within runs until done, and fails with what after d.
func (l *loop) within(d time.Duration, what string, done func() bool) error {
	limit := time.Now().Add(d)
	ok := false
	err := l.run(func() bool { ok = done(); return ok || time.Now().After(limit) })
	if err == nil && !ok {
		err = fmt.Errorf("%s: not done after %v", what, d)
	}
	return err
}

// fail ends the run, and all later ones, with the first err.
func (l *loop) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// turn acts on one event. The socket may be gone: an event before it in the
// same batch closed it. A new one in its place then finds nothing to read.
func (l *loop) turn(ev unix.EpollEvent) {
	s := l.socks[ev.Fd]
	if s == nil {
		return
	}
	if ev.Events&unix.EPOLLOUT != 0 {
		s.flush()
	}
	if ev.Events&^uint32(unix.EPOLLOUT) == 0 || l.socks[ev.Fd] != s {
		return
	}
	if s.ready != nil {
		s.ready()
		return
	}
	s.read()
}

// add watches s, whose descriptor must not block.
func (l *loop) add(s *socket) error {
	s.l = l
	for len(l.socks) <= s.fd {
		l.socks = append(l.socks, nil)
	}
	l.socks[s.fd] = s
	err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, s.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.fd)})
	if err != nil {
		return fmt.Errorf("watching a socket: %w", err)
	}
	return nil
}

// join is add for a client, which may speak TLS.
func (l *loop) join(s *socket) error {
	err := l.add(s)
	if err == nil && l.tls != nil {
		s.secure(l.tls)
	}
	return err
}

// read reads once and passes on what came.
func (s *socket) read() {
	n, err := unix.Read(s.fd, s.l.buf)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
	case err != nil:
		s.end(err)
	case n == 0 && s.tls != nil:
		s.end(errCut)
	case n == 0:
		s.end(io.EOF)
	default:
		s.came(s.l.buf[:n])
	}
}

func (s *socket) came(b []byte) {
	s.got += len(b)
	if s.tls != nil {
		s.tls.feed(b)
		return
	}
	s.pass(b)
}

// pass gives b to take, after what was left before it.
func (s *socket) pass(b []byte) {
	if len(s.in) > 0 {
		s.in = append(s.in, b...)
		b = s.in
	}
	rest, err := s.take(b)
	if len(rest) != len(s.in) || len(rest) != len(b) { // else it is s.in
		s.in = append(s.in[:0], rest...)
	}
	if err != nil {
		s.end(err)
	}
}

// write sends b, now or as soon as the kernel takes it.
func (s *socket) write(b []byte) {
	if s.tls != nil {
		s.tls.write(b)
		return
	}
	s.send(b)
}

// send is write below TLS.
func (s *socket) send(b []byte) {
	s.sent += len(b)
	if len(s.out) > 0 {
		s.out = append(s.out, b...)
		return
	}
	n, err := unix.Write(s.fd, b)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		return // the read that follows tells
	}
	if n = max(n, 0); n < len(b) {
		s.out = append(s.out, b[n:]...)
		s.watch(unix.EPOLLIN | unix.EPOLLOUT)
	}
}

func (s *socket) flush() {
	n, err := unix.Write(s.fd, s.out)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		s.end(err)
		return
	}
	s.out = append(s.out[:0], s.out[max(n, 0):]...)
	switch {
	case len(s.out) > 0:
	case s.last:
		s.close()
	default:
		s.watch(unix.EPOLLIN)
	}
}

func (s *socket) watch(events uint32) {
	if err := unix.EpollCtl(s.l.ep, unix.EPOLL_CTL_MOD, s.fd, &unix.EpollEvent{Events: events, Fd: int32(s.fd)}); err != nil {
		s.l.fail(fmt.Errorf("watching a socket: %w", err))
	}
}

// finish closes s once all is written.
func (s *socket) finish() {
	if s.last = true; len(s.out) == 0 {
		s.close()
	}
}

// end closes s and says why.
func (s *socket) end(err error) {
	if s.close() && s.gone != nil {
		s.gone(err)
	}
}

// close closes s; false says that it was closed before.
func (s *socket) close() bool {
	if s.fd < 0 {
		return false
	}
	s.l.socks[s.fd] = nil
	unix.Close(s.fd)
	s.fd = -1
	if s.tls != nil {
		s.tls.close()
	}
	return true
}

func (l *loop) close() {
	for _, s := range l.socks {
		if s != nil {
			s.close()
		}
	}
	if l.ep >= 0 {
		unix.Close(l.ep)
	}
	l.ep = -1
}
