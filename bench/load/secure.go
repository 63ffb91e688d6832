//go:build linux

package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"time"
)

// Secure has the clients that are opened from now on speak TLS by conf; nil: in
// clear. How they come and what they compare is the same.
func (r *Rig) Secure(conf *tls.Config) { r.l.tls = conf }

// errCut says that a connection over TLS ended and its end was not said (RFC 8446
// section 6.1): what came last may be missing.
var errCut = errors.New("it was closed without close_notify")

// A layer is the TLS of one client's socket. crypto/tls can only wait inside of a
// read, so it runs as a coroutine, which is left where nothing has come yet and
// entered again when something has: a client over TLS needs no thread of its own
// and has its turns on the loop as all others have.
type layer struct {
	s    *socket
	conn *tls.Conn
	// enter goes on until all that came is used; leave ends the coroutine.
	enter func() (struct{}, bool)
	leave func()
	yield func(struct{}) bool
	// inside is while it runs: it then ends by itself, and must not be left.
	inside bool
	raw    []byte // what came and was not read; valid while inside
	early  []byte // what was said while hands were being shaken
	shaken bool
	buf    [4 << 10]byte
}

// secure begins TLS on s.
func (s *socket) secure(conf *tls.Config) {
	t := &layer{s: s}
	t.conn = tls.Client(link{t}, conf)
	t.enter, t.leave = iter.Pull(t.run)
	s.tls = t
	t.feed(nil)
}

// feed passes on what came, and acts on it.
func (t *layer) feed(b []byte) {
	t.raw = b
	t.inside = true
	t.enter()
	t.inside = false
}

// run shakes hands, and then passes on all that comes until the end.
func (t *layer) run(yield func(struct{}) bool) {
	t.yield = yield
	err := t.conn.Handshake()
	if err != nil {
		err = fmt.Errorf("shaking hands over TLS: %w", err)
	} else {
		err = t.begin()
	}
	for err == nil && t.s.fd >= 0 {
		var n int
		if n, err = t.conn.Read(t.buf[:]); n > 0 {
			t.s.pass(t.buf[:n])
		}
	}
	if errors.Is(err, io.EOF) {
		t.conn.CloseWrite() // the other end has said its own
	}
	t.s.end(err)
}

func (t *layer) begin() error {
	t.shaken = true
	_, err := t.conn.Write(t.early)
	t.early = nil
	return err
}

// write sends b, once hands are shaken.
func (t *layer) write(b []byte) {
	if !t.shaken {
		t.early = append(t.early, b...)
		return
	}
	t.conn.Write(b) // where it fails the read tells
}

// close ends the coroutine of a socket that is closed.
func (t *layer) close() {
	if !t.inside {
		t.leave()
	}
}

// A link is the socket as crypto/tls sees it.
type link struct{ t *layer }

// Read waits, by yielding, while there is nothing.
func (l link) Read(b []byte) (int, error) {
	for len(l.t.raw) == 0 {
		if !l.t.yield(struct{}{}) {
			return 0, net.ErrClosed
		}
	}
	n := copy(b, l.t.raw)
	l.t.raw = l.t.raw[n:]
	return n, nil
}

// Write never waits: the socket keeps what the kernel does not take.
func (l link) Write(b []byte) (int, error) {
	if l.t.s.fd < 0 {
		return 0, net.ErrClosed
	}
	l.t.s.send(b)
	return len(b), nil
}

func (l link) Close() error                     { return nil }
func (l link) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (l link) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (l link) SetDeadline(time.Time) error      { return nil }
func (l link) SetReadDeadline(time.Time) error  { return nil }
func (l link) SetWriteDeadline(time.Time) error { return nil }
