package faultlink

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A pair is one connection: the client's socket, the server's, and a way each.
type pair struct {
	link           *Link
	ctx            context.Context
	cancel         context.CancelFunc
	client, server *net.TCPConn
	up, down       *way
}

func newPair(l *Link, client, server *net.TCPConn) *pair {
	p := &pair{link: l, client: client, server: server}
	p.ctx, p.cancel = context.WithCancel(l.ctx)
	p.up = &way{pair: p, dir: Up, src: client, dst: server, quota: l.faults[Up].After}
	p.down = &way{pair: p, dir: Down, src: server, dst: client, quota: l.faults[Down].After}
	return p
}

func (p *pair) run() {
	defer p.cancel()
	var wg sync.WaitGroup
	for _, w := range []*way{p.up, p.down} {
		q := make(chan chunk, 8)
		wg.Go(func() { w.read(q) })
		wg.Go(func() { w.write(q) })
	}
	wg.Wait()
	p.client.Close()
	p.server.Close()
}

func (p *pair) endLocked(told Dir, how Ending) {
	for _, w := range []*way{p.up, p.down} {
		switch {
		case told&w.dir == 0 || how == None:
		case how == FIN && !w.mute:
			w.dst.CloseWrite()
		case how == Reset:
			reset(w.dst)
			// What the reader of this socket now meets is our doing, and the
			// other end has not been told.
			p.up.mute, p.down.mute = true, true
		}
		w.mute = w.mute || told&w.dir != 0
	}
	if told == Both && how == Reset {
		p.cancel()
	}
}

// reset makes the kernel send a RST in place of a FIN.
func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// readSize is the most bytes of a chunk.
const readSize = 8 << 10

// A chunk is what one read brought, or how the reading ended.
type chunk struct {
	data []byte
	at   time.Time
	err  error
}

// A way is one direction of one connection. The link's mutex guards quota and mute.
type way struct {
	pair     *pair
	dir      Dir
	src, dst *net.TCPConn
	quota    int64 // bytes left until the cut
	mute     bool  // nothing goes to dst any more
	free     time.Time
}

// fault is what to suffer now, and a channel that is closed when that changes.
func (w *way) fault() (Fault, <-chan struct{}) {
	l := w.pair.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.mute {
		return Fault{Blackhole: true}, l.changed
	}
	return l.faults[w.dir], l.changed
}

// interruptLocked takes the reader out of a Read begun under an older fault. The
// deadline is cleared under the same lock, so no interruption is missed.
func (w *way) interruptLocked() { w.src.SetReadDeadline(time.Unix(1, 0)) }

// mayRead waits while the way is stalled.
func (w *way) mayRead() error {
	for {
		l := w.pair.link
		l.mu.Lock()
		stalled, changed := l.faults[w.dir].Stall && !w.mute, l.changed
		if !stalled {
			w.src.SetReadDeadline(time.Time{})
		}
		l.mu.Unlock()
		if !stalled {
			return nil
		}
		if err := pause(w.pair.ctx, 0, changed); err != nil {
			return err
		}
	}
}

func (w *way) read(q chan<- chunk) {
	defer close(q)
	for {
		if w.mayRead() != nil {
			return
		}
		buf := make([]byte, readSize)
		n, err := w.src.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
		if n == 0 && err == nil {
			continue
		}
		select {
		case q <- chunk{data: buf[:n], at: time.Now(), err: err}:
		case <-w.pair.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func (w *way) write(q <-chan chunk) {
	for {
		_, changed := w.fault()
		w.cutIfSpent()
		select {
		case c, more := <-q:
			if !more {
				return
			}
			w.forward(c)
		case <-changed:
		case <-w.pair.ctx.Done():
			return
		}
	}
}

// forward passes c on as the faults of the moment allow, in slices where they
// ask for it.
func (w *way) forward(c chunk) {
	for len(c.data) > 0 {
		f, err := w.ready(c)
		if err != nil || f.Blackhole {
			break
		}
		n := w.grant(f, len(c.data))
		if _, err := w.dst.Write(c.data[:n]); err != nil {
			w.silence()
			break
		}
		if w.cutIfSpent() {
			break
		}
		c.data = c.data[n:]
	}
	if c.err == nil {
		return
	}
	if f, err := w.ready(c); err == nil && !f.Blackhole {
		w.finish(c.err)
	}
}

// ready waits until c may go on, and returns the fault of that moment.
func (w *way) ready(c chunk) (Fault, error) {
	for {
		f, changed := w.fault()
		at := c.at.Add(f.Delay)
		if f.Rate > 0 && w.free.After(at) {
			at = w.free
		}
		wait := time.Until(at)
		switch {
		case f.Blackhole, !f.Stall && wait <= 0:
			return f, nil
		case f.Stall:
			wait = 0
		}
		if err := pause(w.pair.ctx, wait, changed); err != nil {
			return f, err
		}
	}
}

// grant says how many of n bytes may go at once, and counts them. They are
// counted before they are written, so that a Set in between starts from nought.
func (w *way) grant(f Fault, n int) int {
	l := w.pair.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.Piece > 0 {
		n = min(n, f.Piece)
	}
	if f.Rate > 0 {
		n = min(n, max(1, f.Rate/20))
		w.free = w.due(f).Add(time.Duration(n) * time.Second / time.Duration(f.Rate))
	}
	if l.faults[w.dir].Cut != None {
		n = int(min(int64(n), w.quota))
		w.quota -= int64(n)
	}
	l.forwarded[w.dir] += int64(n)
	return n
}

// catchUp is how late a part may go and the next be in time again: on a busy machine each
// is late, and 8 kB/s would be 6.
const catchUp = 200 * time.Millisecond

// due is when what goes now should have gone. Pieces keep their distance.
func (w *way) due(f Fault) time.Time {
	now := time.Now()
	if f.Piece > 0 || now.Sub(w.free) > catchUp {
		return now
	}
	return w.free
}

// cutIfSpent ends the connection if all bytes before the cut went through.
func (w *way) cutIfSpent() bool {
	l := w.pair.link
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.faults[w.dir]
	if f.Cut == None || w.quota > 0 || w.mute {
		return false
	}
	w.pair.endLocked(Both, f.Cut)
	l.tellLocked()
	return true
}

func (w *way) silence() {
	w.pair.link.mu.Lock()
	defer w.pair.link.mu.Unlock()
	w.mute = true
}

// finish passes on how the sender ended.
func (w *way) finish(err error) {
	if err == io.EOF {
		w.dst.CloseWrite()
	} else {
		reset(w.dst)
	}
}

// pause waits for d (0: for ever), for a change, or for the end of ctx.
func pause(ctx context.Context, d time.Duration, changed <-chan struct{}) error {
	var due <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-due:
	case <-changed:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
