package resumable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// A rig is a server in a bubble, on connections in memory that tests can cut.
type rig struct {
	t      *testing.T
	f      *fake
	server *http.Server
	ln     chan net.Conn
	closed chan struct{}

	mu    sync.Mutex
	conns []net.Conn
	mute  bool         // a network that throws everything away
	fail  func() error // asked before each new connection; nil: it works
}

func newRig(t *testing.T, handler http.Handler) *rig {
	r := &rig{t: t, ln: make(chan net.Conn), closed: make(chan struct{})}
	if handler == nil {
		r.f = newFake(t)
		handler = r.f
	}
	r.server = &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	go r.server.Serve(r)
	t.Cleanup(func() {
		r.cut()
		r.server.Close()
	})
	return r
}

func (r *rig) Accept() (net.Conn, error) {
	select {
	case c := <-r.ln:
		return c, nil
	case <-r.closed:
		return nil, net.ErrClosed
	}
}

func (r *rig) Close() error { close(r.closed); return nil }

func (r *rig) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (r *rig) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	r.mu.Lock()
	fail := r.fail
	r.mu.Unlock()
	if fail != nil {
		if err := fail(); err != nil {
			return nil, err
		}
	}
	here, there := net.Pipe()
	select {
	case r.ln <- there:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.closed:
		return nil, errors.New("refused")
	}
	r.mu.Lock()
	r.conns = append(r.conns, here)
	r.mu.Unlock()
	return &lossy{here, r}, nil
}

// A lossy connection throws away what comes and goes while its rig is mute.
type lossy struct {
	net.Conn
	r *rig
}

func (l *lossy) muted() bool {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	return l.r.mute
}

func (l *lossy) Read(p []byte) (int, error) {
	for {
		n, err := l.Conn.Read(p)
		if err != nil || !l.muted() {
			return n, err
		}
	}
}

func (l *lossy) Write(p []byte) (int, error) {
	if l.muted() {
		return len(p), nil
	}
	return l.Conn.Write(p)
}

func (r *rig) blackhole(mute bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mute = mute
}

// breakDown makes all new connections fail, or work again with nil.
func (r *rig) breakDown(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = func() error { return err }
}

// cut ends every connection.
func (r *rig) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

func (r *rig) options(kinds ...Transport) *Options {
	return &Options{DialContext: r.dial, Transports: kinds}
}

// open dials, and closes at the end of the test.
func (r *rig) open(o *Options) *Conn {
	r.t.Helper()
	c, err := Dial(context.Background(), "ws://server.test/chat?room=1", o)
	if err != nil {
		r.t.Fatalf("Dial: %v", err)
	}
	r.t.Cleanup(func() { c.CloseNow() })
	return c
}

// echo sends one message and wants it back.
func (r *rig) echo(c *Conn, text string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := c.Write(ctx, Text, []byte(text)); err != nil {
		r.t.Fatalf("Write: %v", err)
	}
	typ, p, err := c.Read(ctx)
	if err != nil || typ != Text || string(p) != text {
		r.t.Fatalf("Read: %d %q, %v; want %q", typ, p, err, text)
	}
}

// numbered writes n messages of different sizes and reads the echo of each: none lost,
// none doubled, none in another's place. At each of stops it calls disturb.
func (r *rig) numbered(c *Conn, n int, stops []int, disturb func(i int)) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range n {
			if err := c.Write(ctx, Binary, numberedMessage(i)); err != nil {
				r.t.Errorf("writing message %d: %v", i, err)
				return
			}
		}
	})
	defer writer.Wait()
	for i := range n {
		if slices.Contains(stops, i) {
			disturb(i)
		}
		typ, p, err := c.Read(ctx)
		if err != nil {
			cancel()
			r.t.Errorf("reading message %d: %v", i, err)
			return
		}
		if want := numberedMessage(i); typ != Binary || string(p) != string(want) {
			r.t.Fatalf("message %d: %d bytes %.20q; want %d bytes %.20q", i, len(p), p, len(want), want)
		}
	}
}

func numberedMessage(i int) []byte {
	size := []int{0, 10, 900, 5_000, 70_000}[i%5]
	return append(fmt.Appendf(nil, "%08d ", i), make([]byte, size)...)
}
