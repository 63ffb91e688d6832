//go:build linux

package load

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// mostHead is the largest head of a handshake that either end takes.
const mostHead = 16 << 10

// A backend echoes every message, and can send one to all that are connected.
type backend struct {
	l     *loop
	addr  string
	open  map[*peer]struct{}
	total int // connections that were ever open
}

// A peer is one connection of a backend.
type peer struct {
	s    *socket
	b    *backend
	open bool
}

func newBackend(l *loop) (*backend, error) {
	fd, addr, err := listen()
	if err != nil {
		return nil, err
	}
	b := &backend{l: l, addr: addr, open: map[*peer]struct{}{}}
	s := &socket{fd: fd}
	s.ready = func() { b.accept(fd) }
	return b, l.add(s)
}

// accept takes all that wait.
func (b *backend) accept(fd int) {
	for range 64 {
		c, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ECONNABORTED) {
				b.l.fail(fmt.Errorf("accepting: %w", err))
			}
			return
		}
		unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		p := &peer{b: b, s: &socket{fd: c}}
		p.s.take, p.s.gone = p.take, p.gone
		if err := b.l.add(p.s); err != nil {
			b.l.fail(err)
		}
	}
}

func (p *peer) gone(err error) {
	delete(p.b.open, p)
	if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		p.b.l.fail(fmt.Errorf("backend: %w", err))
	}
}

func (p *peer) take(b []byte) ([]byte, error) {
	if !p.open {
		rest, err := p.handshake(b)
		if !p.open {
			return rest, err
		}
		b = rest
	}
	for {
		f, rest, err := cut(b, true)
		switch {
		case errors.Is(err, errShort):
			return b, nil
		case err != nil:
			return nil, err
		}
		if p.answer(b, f); p.s.fd < 0 {
			return nil, nil
		}
		b = rest
	}
}

// handshake answers a client's once it is whole (RFC 6455 section 4.2.2).
func (p *peer) handshake(b []byte) ([]byte, error) {
	head, rest, whole := bytes.Cut(b, []byte("\r\n\r\n"))
	if !whole {
		if len(b) > mostHead {
			return nil, errors.New("reading a handshake: it has no end")
		}
		return b, nil
	}
	key := field(head, "Sec-WebSocket-Key")
	if key == "" {
		return nil, fmt.Errorf("reading a handshake: it has no key: %q", head)
	}
	p.open = true
	p.b.open[p] = struct{}{}
	p.b.total++
	p.s.write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + acceptFor(key) + "\r\n\r\n"))
	return rest, nil
}

// answer echoes f, which b begins with. The echo's head takes the room of the
// client's, which is four bytes longer, so that the payload is not copied.
func (p *peer) answer(b []byte, f frame) {
	switch f.op {
	case opBinary, opText:
		h := appendHead(b[4:4], f.op, len(f.payload))
		p.s.write(b[4 : 4+len(h)+len(f.payload)])
	case opPing:
		p.s.write(appendFrame(nil, opPong, f.payload, nil))
	case opClose:
		p.s.write(appendFrame(nil, opClose, f.payload, nil))
		delete(p.b.open, p)
		p.s.finish()
	case opPong:
	default:
		p.b.l.fail(fmt.Errorf("backend: opcode %#x came that nobody sent", f.op))
	}
}

// broadcast sends payload to all that are open, and says to how many.
func (b *backend) broadcast(payload []byte) int {
	f := appendFrame(nil, opBinary, payload, nil)
	for p := range b.open {
		p.s.write(f)
	}
	return len(b.open)
}

// acceptFor is the answer to a handshake's key.
func acceptFor(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// field is the value of a head's first field of that name, or "".
func field(head []byte, name string) string {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		k, v, ok := bytes.Cut(line, []byte(":"))
		if ok && bytes.EqualFold(k, []byte(name)) {
			return string(bytes.TrimSpace(v))
		}
	}
	return ""
}
