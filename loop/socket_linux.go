//go:build !loop_portable

package loop

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Socket is a connected TCP or unix socket in a loop. Its methods may be called
// only within a callback of its loop, or Do.
type Socket struct {
	loop    *Loop
	handler Handler
	fd      int32 // meaningful while loop is set
	serial  uint32
	place   uint32 // in loop.sockets
	watched Events
	lent    bool // the descriptor is a net.Conn's, and not ours to close
}

// Add takes the socket out of c and puts it into l as s, watched for ev. c is
// closed, in any case; what it had buffered above the socket is lost. s must not
// be in a loop. It may be called only within a callback or Do.
func (l *Loop) Add(s *Socket, c net.Conn, h Handler, ev Events) error {
	fd, err := take(c)
	if err != nil {
		return err
	}
	if l.stopped {
		unix.Close(fd)
		return ErrStopped
	}
	if err := l.put(s, fd, h, ev); err != nil {
		s.Close()
		return err
	}
	return nil
}

// put makes s the socket fd in l.
func (l *Loop) put(s *Socket, fd int, h Handler, ev Events) error {
	l.serial++
	*s = Socket{loop: l, handler: h, fd: int32(fd), serial: l.serial}
	l.seat(s)
	return s.Watch(ev)
}

// take duplicates c's descriptor and closes c, which takes the socket out of Go's
// poller but leaves it open.
func take(c net.Conn) (fd int, err error) {
	defer c.Close()
	var dup error
	err = control(c, func(old uintptr) { fd, dup = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dup); err != nil {
		return -1, fmt.Errorf("taking a socket: %w", err)
	}
	return fd, nil
}

// Lend puts the socket of c, which must be a TCP or unix one itself and nothing
// around it, into l as s, watched for ev, until Reclaim. c stays what it is, in Go's
// poller too, and may be written by either side, but until then must not be read or
// closed: else what is read reaches the wrong one, and the descriptor's number may be
// another's already.
// s must not be in a loop. Where loops are not Native the error is
// errors.ErrUnsupported. Lend may be called only within a callback or Do.
func (l *Loop) Lend(s *Socket, c net.Conn, h Handler, ev Events) error {
	fd := -1
	err := control(c, func(own uintptr) { fd = int(own) })
	switch {
	case err != nil:
		return fmt.Errorf("lending a socket: %w", err)
	case l.stopped:
		return ErrStopped
	}
	if err := l.put(s, fd, h, ev); err != nil {
		s.Reclaim()
		return err
	}
	s.lent = true
	return nil
}

// Reclaim ends what Lend began: c may be used again. It may be called again.
func (s *Socket) Reclaim() {
	if s.loop != nil {
		s.remove()
	}
}

// control has f called with the descriptor of c.
func control(c net.Conn, f func(fd uintptr)) error {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return fmt.Errorf("%T has none", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(f)
}

// Watch sets what s is watched for. Watched for nothing it is out of epoll, which
// would report the peer's reset over and over, asked or not.
func (s *Socket) Watch(ev Events) error {
	if ev == s.watched {
		return nil
	}
	e := unix.EpollEvent{Fd: int32(s.place), Pad: int32(s.serial)}
	if ev&Readable != 0 {
		e.Events |= unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if ev&Writable != 0 {
		e.Events |= unix.EPOLLOUT
	}
	op := unix.EPOLL_CTL_MOD
	switch {
	case s.watched == 0:
		op = unix.EPOLL_CTL_ADD
	case ev == 0:
		op = unix.EPOLL_CTL_DEL
	}
	if err := s.loop.control(op, int(s.fd), &e); err != nil {
		return fmt.Errorf("watching a socket: %w", err)
	}
	s.watched = ev
	return nil
}

// Watched is what s is watched for.
func (s *Socket) Watched() Events { return s.watched }

// Open reports whether s is in a loop.
func (s *Socket) Open() bool { return s.loop != nil }

// Read reads what is there, ErrWait where there is nothing, io.EOF at the end.
func (s *Socket) Read(b []byte) (int, error) { return s.read(b, 0) }

// Peek is Read, but leaves what it saw to be read.
func (s *Socket) Peek(b []byte) (int, error) { return s.read(b, unix.MSG_PEEK) }

func (s *Socket) read(b []byte, flags uintptr) (int, error) {
	for {
		n, err := recv(s.fd, b, flags)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, ErrWait
		case err != 0:
			return 0, os.NewSyscallError("read", err)
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Write writes as much of b as is taken now. n < len(b) without an error is
// possible; ErrWait means n is 0.
func (s *Socket) Write(b []byte) (int, error) {
	for {
		n, err := send(s.fd, b)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, ErrWait
		case err != 0:
			return 0, os.NewSyscallError("write", err)
		}
		return n, nil
	}
}

// CloseWrite says that no more will be written.
func (s *Socket) CloseWrite() error {
	return os.NewSyscallError("shutdown", unix.Shutdown(int(s.fd), unix.SHUT_WR))
}

// Close takes s out of its loop and closes it; where it is lent it is Reclaim, and
// whoever lent it has to close it. It may be called again.
func (s *Socket) Close() error {
	if s.loop == nil {
		return nil
	}
	fd, lent := int(s.fd), s.lent
	s.remove()
	if lent {
		return nil
	}
	return os.NewSyscallError("close", unix.Close(fd))
}

// seat gives s a place. Descriptors would do as places, but then each of many loops
// would need as many as the process has descriptors.
func (l *Loop) seat(s *Socket) {
	if last := len(l.free) - 1; last >= 0 {
		s.place, l.free = l.free[last], l.free[:last]
		l.sockets[s.place] = s
		return
	}
	s.place = uint32(len(l.sockets)) // descriptors are fewer
	l.sockets = append(l.sockets, s)
}

// unseat frees the place of s. When all are free none are kept, for a burst was over.
func (l *Loop) unseat(s *Socket) {
	l.sockets[s.place] = nil
	l.free = append(l.free, s.place)
	if l.Len() == 0 {
		l.sockets, l.free = nil, nil
	}
}

// remove takes s out of its loop. From here on no callback of it runs: events
// that were taken from epoll already find another serial number, or nobody.
func (s *Socket) remove() {
	s.Watch(0) // also where the descriptor lives on in another process or duplicate
	s.loop.unseat(s)
	s.loop, s.fd = nil, -1 // a use after this must not reach whoever has the number next
}

// control calls epoll_ctl on l's descriptor.
func (l *Loop) control(op, fd int, e *unix.EpollEvent) (err error) {
	if c := l.raw.Control(func(ep uintptr) { err = unix.EpollCtl(int(ep), op, fd, e) }); c != nil {
		return c
	}
	return err
}

// arm makes the loop wake in time for the next timer.
func (l *Loop) arm() {
	at, head := l.wheel.next()
	if head == nil || l.stopped || l.armed != 0 && l.armed <= at {
		return
	}
	l.armed = at
	l.file.SetReadDeadline(l.start.Add(time.Duration(at) * tick))
}
