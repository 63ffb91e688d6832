//go:build !linux || loop_portable

package loop

import (
	"errors"
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
	queued bool // guarded by the loop's queueMu

	mu       sync.Mutex // guards what follows; never held across I/O
	changed  sync.Cond
	in       []byte // read, and not yet taken
	inErr    error  // behind in
	out      []byte // to be written; the writer has a view of it
	outErr   error
	halfShut bool      // no more will be written
	endBy    time.Time // set once the socket is closed: the goroutines go by then
}

func newPump(l *Loop, c net.Conn) *pump {
	p := &pump{loop: l, conn: c}
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
			_ = p.conn.Close() // it would say nothing that anybody could act on
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

// finish closes the socket as soon as all is written: both goroutines go, the writer
// once all is out or after lastWait.
func (p *pump) finish() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endBy = time.Now().Add(lastWait)
	_ = p.conn.SetReadDeadline(time.Unix(1, 0)) // fails only where the socket is beyond use
	_ = p.conn.SetWriteDeadline(p.endBy)
	p.changed.Broadcast()
	return nil
}
