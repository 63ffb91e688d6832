package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"time"
)

// Detachable returns l with connections that TLS may be put upon, and whose
// sockets can still be moved onto an epoll loop afterwards: there an idle TLS
// connection needs no goroutine and no read buffer. Serve tls.NewListener of it.
// TLS upon any other connection is relayed by two goroutines.
//
// On a loop crypto/tls is told "nothing now" in mid-record, as a net.Error with
// Temporary true, and goes on later: that it does is not documented.
// TestTLSGoesOnAfterATemporaryError fails when it no longer does.
func Detachable(l net.Listener) net.Listener { return detachables{l} }

type detachables struct{ net.Listener }

func (l detachables) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &detachable{Conn: c}, nil
}

// A detachable is what crypto/tls reads and writes: a connection, and from some
// time on a lane of a looped relay in its place.
type detachable struct {
	net.Conn
	lane *lane // set once, under the loop's lock; all use from then on is under it
}

func (d *detachable) Read(b []byte) (int, error) {
	if d.lane != nil {
		return d.lane.readCiphertext(b)
	}
	return d.Conn.Read(b)
}

func (d *detachable) Write(b []byte) (int, error) {
	if d.lane != nil {
		return d.lane.writeCiphertext(b)
	}
	return d.Conn.Write(b)
}

// Deadlines mean nothing on a loop. crypto/tls sets one before its last alert.

func (d *detachable) SetDeadline(t time.Time) error {
	return d.deadline(t, net.Conn.SetDeadline)
}

func (d *detachable) SetReadDeadline(t time.Time) error {
	return d.deadline(t, net.Conn.SetReadDeadline)
}

func (d *detachable) SetWriteDeadline(t time.Time) error {
	return d.deadline(t, net.Conn.SetWriteDeadline)
}

func (d *detachable) deadline(t time.Time, set func(net.Conn, time.Time) error) error {
	if d.lane != nil {
		return nil
	}
	return set(d.Conn, t)
}

// NetConn is the connection beneath, nil once its socket was taken.
func (d *detachable) NetConn() net.Conn { return d.Conn }

// Vacate lets go of the connection beneath, whose socket was taken.
func (d *detachable) Vacate() io.Closer {
	left := vacate(d.Conn)
	d.Conn = nil
	return left
}

// Close closes what is still there.
func (d *detachable) Close() error {
	if d.Conn == nil {
		return nil
	}
	return d.Conn.Close()
}

// detachableIn is what c's TLS is upon, or nil where that cannot be moved.
func detachableIn(c net.Conn) (*tls.Conn, *detachable) {
	secure, ok := innermost(c).(*tls.Conn)
	if !ok {
		return nil, nil
	}
	d, ok := secure.NetConn().(*detachable)
	if !ok {
		return nil, nil
	}
	return secure, d
}
