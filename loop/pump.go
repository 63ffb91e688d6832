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

const (
	// ahead is how much a pump reads before it is asked to, and how much it takes
	// before it is written.
	ahead = ScratchSize
	// glance is how long it writes before it looks how much was taken: where an end
	// is slow, that shows it lives.
	glance = 100 * time.Millisecond
	// lastWait is what is written last has to get out.
	lastWait = time.Second
)

// A pump moves the bytes of one socket by a goroutine each way, a bounded number
// of them ahead, and tells its loop.
type pump struct {
	loop   *Loop
	conn   net.Conn
	queued bool          // guarded by the loop's queueMu
	left   chan struct{} // closed once the reader has gone

	mu       sync.Mutex // guards what follows; never held across I/O
	changed  sync.Cond
	in       []byte // read, and not yet taken
	inErr    error  // behind in
	out      []byte // to be written; the writer has a view of it
	outErr   error
	halfShut bool      // no more will be written
	endBy    time.Time // set once the socket is closed or given back: the goroutines go by then
	given    bool      // it is given back
	written  bool      // the writer has gone
}

func newPump(l *Loop, c net.Conn) *pump {
	p := &pump{loop: l, conn: c, left: make(chan struct{})}
	p.changed.L = &p.mu
	l.pumps.Go(p.reads)
	l.pumps.Go(p.writes)
	return p
}

// ready is what can be done without waiting.
func (p *pump) ready() (ev Events) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.in) > 0 || p.inErr != nil {
		ev |= Readable
	}
	if len(p.out) < ahead || p.outErr != nil {
		ev |= Writable
	}
	return ev
}

func (p *pump) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.in) == 0 {
		if p.inErr != nil {
			return 0, p.inErr
		}
		return 0, ErrWait
	}
	n := copy(b, p.in)
	if p.in = p.in[n:]; len(p.in) == 0 {
		p.changed.Broadcast()
	}
	return n, nil
}

func (p *pump) write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.outErr != nil {
		return 0, p.outErr
	}
	if p.halfShut {
		return 0, os.NewSyscallError("write", net.ErrClosed)
	}
	n := min(len(b), ahead-len(p.out))
	if n == 0 && len(b) > 0 {
		return 0, ErrWait
	}
	p.out = append(p.out, b[:n]...)
	p.changed.Broadcast()
	return n, nil
}

func (p *pump) shut() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.halfShut = true
	p.changed.Broadcast()
	return nil
}

// reads reads ahead, one buffer at a time.
func (p *pump) reads() {
	defer close(p.left)
	b := make([]byte, ahead)
	for p.wantsMore() {
		n, err := p.conn.Read(b)
		p.mu.Lock()
		if !p.endBy.IsZero() && errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil // it was only to wake us
		}
		p.in, p.inErr = b[:n], err
		p.mu.Unlock()
		p.loop.post(p)
	}
}

// wantsMore waits until there is room. False: nobody will want any.
func (p *pump) wantsMore() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.in) > 0 && p.endBy.IsZero() {
		p.changed.Wait()
	}
	return p.inErr == nil && p.endBy.IsZero()
}

// writes writes what is handed over, then what has to follow.
func (p *pump) writes() {
	shut := false
	for {
		b, end := p.next(shut)
		switch {
		case len(b) > 0:
			p.wrote(p.conn.Write(b))
		case end:
			p.gone()
			return
		default:
			shut = true
			if c, ok := p.conn.(interface{ CloseWrite() error }); ok {
				_ = c.CloseWrite() // whoever writes or reads next finds out
			}
		}
	}
}

// next waits for something to write. Without any it is time to say that no more
// comes, unless that is done, or to end.
func (p *pump) next(shut bool) (b []byte, end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.out) == 0 && p.endBy.IsZero() && (shut || !p.halfShut) {
		p.changed.Wait()
	}
	by := p.endBy
	if by.IsZero() {
		by = time.Now().Add(glance)
	}
	_ = p.conn.SetWriteDeadline(by) // fails only where the socket is beyond use
	return p.out, !p.endBy.IsZero() && (shut || !p.halfShut)
}

func (p *pump) wrote(n int, err error) {
	p.mu.Lock()
	p.out = p.out[n:]
	if late := errors.Is(err, os.ErrDeadlineExceeded); err != nil && (!late || !p.endBy.IsZero() && !time.Now().Before(p.endBy)) {
		p.out, p.outErr = nil, err
	}
	p.mu.Unlock()
	p.loop.post(p)
}

// gone is the writer's end. It closes the socket unless that is given back.
func (p *pump) gone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.written = true; !p.given {
		_ = p.conn.Close() // it would say nothing that anybody could act on
	}
	p.changed.Broadcast()
}

// finish closes the socket as soon as all is written.
func (p *pump) finish() error {
	p.end(false)
	return nil
}

// end has both goroutines go, the writer once all is out or after lastWait.
func (p *pump) end(given bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endBy, p.given = time.Now().Add(lastWait), given
	_ = p.conn.SetReadDeadline(time.Unix(1, 0)) // fails only where the socket is beyond use
	_ = p.conn.SetWriteDeadline(p.endBy)
	p.changed.Broadcast()
}

// release waits for both goroutines and gives the socket back.
func (p *pump) release() (net.Conn, error) {
	p.end(true)
	<-p.left
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.written {
		p.changed.Wait()
	}
	if p.outErr != nil {
		_ = p.conn.Close() // the error is the news
		return nil, fmt.Errorf("giving a socket back: %w", p.outErr)
	}
	if err := p.conn.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("giving a socket back: %w", err)
	}
	if len(p.in) == 0 && p.inErr == nil {
		return p.conn, nil
	}
	return &returned{Conn: p.conn, in: p.in, err: p.inErr}, nil
}

// A returned socket has bytes that were read ahead.
type returned struct {
	net.Conn
	in  []byte
	err error // behind in
}

func (r *returned) Read(b []byte) (int, error) {
	switch {
	case len(r.in) > 0:
		n := copy(b, r.in)
		r.in = r.in[n:]
		return n, nil
	case r.err != nil:
		return 0, r.err
	}
	return r.Conn.Read(b)
}

// CloseWrite says that no more will be written.
func (r *returned) CloseWrite() error {
	c, ok := r.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return c.CloseWrite()
}
