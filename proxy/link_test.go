package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// overTLS puts TLS upon the client's hop of every connection that connect opens,
// overWSS upon the backend's.
var overTLS, overWSS bool

// serveFront serves h to clients, and returns its address.
func serveFront(t *testing.T, h http.Handler) string {
	front := httptest.NewUnstartedServer(h)
	front.Listener = Detachable(front.Listener)
	if overTLS {
		front.StartTLS()
	} else {
		front.Listener = front.Listener.(detachables).Listener
		front.Start()
	}
	t.Cleanup(front.Close)
	return front.Listener.Addr().String()
}

// dialFront is dialPeer with TLS where the test is about that, record by record if
// it wants so.
func dialFront(t *testing.T, addr string, byRecords bool) *peer {
	t.Helper()
	p := dialPeer(t, addr)
	switch {
	case byRecords:
		p.secure(clientRecords(t, p.conn.TCPConn))
	case overTLS:
		p.secure(tls.Client(p.conn.TCPConn, &tls.Config{InsecureSkipVerify: true}))
	}
	return p
}

// secure has p read and write by s from now on.
func (p *peer) secure(s secured) {
	p.conn.tls = s
	p.r.Reset(p.conn)
}

// slowBuffer is the receive buffer of a slow reader. Records of TLS do not fit the
// smallest: then the kernel waits 200 ms before each, with no relay between too.
func slowBuffer() int {
	if overTLS {
		return 64 << 10
	}
	return 16 << 10
}

// A link is a peer's socket, with TLS upon it or without.
type link struct {
	*net.TCPConn
	tls secured // nil: in clear
}

type secured interface {
	io.ReadWriteCloser
	CloseWrite() error
}

func (l *link) Read(b []byte) (int, error) {
	if l.tls != nil {
		return l.tls.Read(b)
	}
	return l.TCPConn.Read(b)
}

// WriteTo keeps io.Copy from the socket beneath the TLS.
func (l *link) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{l})
}

func (l *link) Write(b []byte) (int, error) {
	if l.tls != nil {
		return l.tls.Write(b)
	}
	return l.TCPConn.Write(b)
}

// CloseWrite says that no more comes, in every way there is.
func (l *link) CloseWrite() error {
	if l.tls != nil {
		l.tls.CloseWrite()
	}
	return l.TCPConn.CloseWrite()
}

func (l *link) Close() error {
	if l.tls != nil {
		return l.tls.Close()
	}
	return l.TCPConn.Close()
}

// testCertificate is what every TLS server of the tests has.
var testCertificate = sync.OnceValue(func() tls.Certificate {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	return s.TLS.Certificates[0]
})
