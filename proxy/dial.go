package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// dial opens a connection to the backend. TLS is done when it returns.
func (b *Backend) dial(ctx context.Context) (net.Conn, error) {
	return b.dialWith(ctx, &net.Dialer{})
}

func (b *Backend) dialWith(ctx context.Context, d *net.Dialer) (net.Conn, error) {
	c, err := d.DialContext(ctx, b.network, b.addr)
	if err != nil || b.tls == nil {
		return c, err
	}
	t := tls.Client(&detachable{Conn: c}, b.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return t, nil
}

// dialBy is dial for a handshake, which must be through by then. pulse says that
// the relay will have heartbeats of its own; else the kernel's watch over the
// backend (four system calls).
func (b *Backend) dialBy(ctx context.Context, by time.Time, pulse bool) (net.Conn, error) {
	var d net.Dialer
	if pulse {
		d.KeepAlive = -1
	}
	if b.tls != nil || !b.literal {
		var cancel func()
		ctx, cancel = context.WithDeadline(ctx, by)
		defer cancel()
	} else {
		ctx = untimed{ctx, by}
	}
	return b.dialWith(ctx, &d)
}

// An untimed context has a deadline but no timer, and so does not end at it. That
// will do where the deadline is asked for beforehand, as connecting a socket does;
// looking up a name does not.
type untimed struct {
	context.Context
	by time.Time
}

func (c untimed) Deadline() (time.Time, bool) { return c.by, true }
