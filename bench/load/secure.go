//go:build linux

package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Held is clients over TLS that had one echo each and are held open.
type Held struct {
	r      *Rig
	conf   *tls.Config
	addr   string
	stop   context.CancelFunc
	ctx    context.Context
	group  sync.WaitGroup
	opened atomic.Int64
	next   atomic.Int64
	fault  chan error // the first
}

// Hold opens n clients over TLS at addr and waits until each has had an echo of
// 64 bytes. They answer pings until Close, while other methods of r run.
func (r *Rig) Hold(addr string, n int, conf *tls.Config) (*Held, error) {
	h := &Held{r: r, conf: conf, addr: addr, fault: make(chan error, 1)}
	h.ctx, h.stop = context.WithCancel(context.Background())
	for range handshakes {
		h.group.Go(func() { h.openUpTo(n) })
	}
	err := r.l.within(patience, fmt.Sprintf("opening %d clients over TLS", n), func() bool {
		return h.opened.Load() == int64(n) || len(h.fault) > 0
	})
	if err = errors.Join(err, h.Fault()); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// Fault is why a client failed, or nil.
func (h *Held) Fault() error {
	select {
	case err := <-h.fault:
		h.fault <- err
		return err
	default:
		return nil
	}
}

// Close closes all clients and waits for their end.
func (h *Held) Close() {
	h.stop()
	h.group.Wait()
}

// openUpTo opens clients, one after the other, until there are n.
func (h *Held) openUpTo(n int) {
	for {
		i := int(h.next.Add(1)) - 1
		if i >= n || h.ctx.Err() != nil {
			return
		}
		c, err := h.open(i)
		if err != nil {
			h.failed(err)
			return
		}
		h.opened.Add(1)
		h.group.Go(func() { h.attend(c) })
	}
}

func (h *Held) failed(err error) {
	if h.ctx.Err() != nil {
		return // it was told to end
	}
	select {
	case h.fault <- fmt.Errorf("client over TLS: %w", err):
	default:
	}
}

// A secure is one client over TLS.
type secure struct {
	conn  net.Conn
	in    []byte // come, and not used
	voice *voice
}

func (h *Held) open(i int) (*secure, error) {
	a := source(i)
	d := tls.Dialer{Config: h.conf, NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: a[:]}, Control: lateBind}}
	conn, err := d.DialContext(h.ctx, "tcp", h.addr)
	if err != nil {
		return nil, err
	}
	c := &secure{conn: conn, voice: newVoice(64)}
	conn.SetDeadline(time.Now().Add(patience))
	if err := c.begin(h.addr); err != nil {
		conn.Close()
		return nil, err
	}
	return c, conn.SetDeadline(time.Time{})
}

// lateBind leaves the port to the connect, as bindTo does.
func lateBind(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
}

// begin shakes hands and has one message echoed.
func (c *secure) begin(host string) error {
	head, accept := handshake(host, "/bench", "")
	if _, err := c.conn.Write(head); err != nil {
		return err
	}
	for {
		rest, err := welcome(c.in, accept, "")
		if err == nil {
			c.in = rest
			break
		}
		if !errors.Is(err, errShort) {
			return err
		}
		if err := c.more(); err != nil {
			return err
		}
	}
	if _, err := c.conn.Write(c.voice.next()); err != nil {
		return err
	}
	f, err := c.frame()
	if err == nil && f.op != opBinary {
		err = fmt.Errorf("opcode %#x came; want an echo", f.op)
	}
	return errors.Join(err, c.voice.check(f.payload))
}

// more reads once.
func (c *secure) more() error {
	var b [1024]byte
	n, err := c.conn.Read(b[:])
	c.in = append(c.in, b[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

// frame is the next that comes.
func (c *secure) frame() (frame, error) {
	for {
		f, rest, err := cut(c.in, false)
		if !errors.Is(err, errShort) {
			c.in = rest
			return f, err
		}
		if err := c.more(); err != nil {
			return frame{}, err
		}
	}
}

// attend answers pings on c until h ends, or c does, which is a fault.
func (h *Held) attend(c *secure) {
	defer context.AfterFunc(h.ctx, func() { c.conn.Close() })()
	c.in = append([]byte(nil), c.in...) // without the room that the handshake needed
	for {
		f, err := c.frame()
		if err == nil && f.op != opPing {
			err = fmt.Errorf("opcode %#x came that nobody sent", f.op)
		}
		if err == nil {
			_, err = c.conn.Write(appendFrame(nil, opPong, f.payload, &c.voice.key))
		}
		if err != nil {
			c.conn.Close()
			h.failed(err)
			return
		}
	}
}
