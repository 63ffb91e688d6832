package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"time"

	"sidecar/access"
	"sidecar/admin"
	"sidecar/certs"
	"sidecar/config"
)

// What one HTTP/2 connection may take. Frames larger than 16 KiB would need a
// buffer of their size each, and what a client sends ahead of a slow backend is
// kept until that has read it.
const (
	maxStreams = 100
	maxFrame   = 16 << 10
	maxAhead   = 256 << 10
)

// startCerts starts what keeps certificates fresh. Close or stop ends it.
func (s *Server) startCerts(e Environment) (err error) {
	if !s.boot.TLS.On() {
		return nil
	}
	around := certs.Environment{
		Log: s.log, Renewed: s.metrics.Renewed, Failed: s.metrics.CertificateFailed,
		Handshake: s.boot.Limits.HeaderTimeout, Every: e.RenewEvery,
	}
	if s.certs, err = around.Start(s.boot.TLS); err != nil {
		return err
	}
	s.metrics.Certificates(s.expiries, func() bool { return s.certs.Fresh() && s.clients.Fresh() })
	return nil
}

// expiries are the ends of certificates by the first name of each.
func (s *Server) expiries() []admin.Expiry {
	var all []admin.Expiry
	for _, c := range s.certs.Certificates() {
		all = append(all, admin.Expiry{Name: c.Names[0], At: c.Expires})
	}
	return all
}

// certified is the condition that no name lacks its certificate.
func (s *Server) certified(context.Context) error { return s.certs.Missing() }

// LocalRoot is the root of the local authority of tls.mode internal, as PEM.
func LocalRoot(c config.Config) ([]byte, error) { return certs.Root(c.TLS) }

func (s *Server) closeCerts() {
	if s.certs != nil {
		s.certs.Close()
	}
	s.clients.Close()
}

// prepareCerts reads the certificates of c, and returns what puts them in force.
func (s *Server) prepareCerts(c config.Config) (use func(), err error) {
	if s.certs == nil || c.TLS.Mode != s.boot.TLS.Mode {
		return func() {}, nil // the mode needs a restart
	}
	return s.certs.Prepare(c.TLS)
}

// secure makes the public server end TLS. The handshake has ReadHeaderTimeout, as
// the head of the first request has then.
func (s *Server) secure(h *http.Server, writeTimeout time.Duration) {
	h.TLSConfig = s.certs.TLSConfig()
	s.clients.Protect(h.TLSConfig)
	h.Protocols.SetHTTP2(true)
	h.ConnContext = countStreams
	h.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: maxStreams, MaxReadFrameSize: maxFrame,
		MaxReceiveBufferPerConnection: maxAhead, MaxReceiveBufferPerStream: maxAhead,
		// A stream's own deadline resets the stream, for which there must be room to
		// write: a client that reads nothing at all is ended by this one.
		WriteByteTimeout: writeTimeout,
	}
}

// connState is the ConnState hook of the public server.
func (s *Server) connState(c net.Conn, now http.ConnState) {
	s.active.state(c, now)
	if t, ok := c.(*tls.Conn); ok && now == http.StateClosed {
		// Its handshake is over. It is not made again, but says how it went.
		if err := t.Handshake(); err != nil {
			s.metrics.HandshakeFailed(certs.Failure(err))
		}
	}
}

// longestWrite is the longest write_timeout of any route: a connection over HTTP/2
// carries the requests of all.
func longestWrite(c config.Config) time.Duration {
	most := c.Limits.Proxy.WriteTimeout
	for _, r := range c.AllRoutes() {
		most = max(most, r.Limits.Proxy.WriteTimeout)
	}
	return most
}

// serve serves clients on l until it is closed.
func (s *Server) serve(l net.Listener) error {
	if s.certs == nil {
		return s.public.Serve(l)
	}
	return s.public.ServeTLS(l, "", "")
}

// overHTTP2 tells real HTTP/2 from HTTP/1.1 with its preface as a request.
func overHTTP2(r *http.Request) bool { return r.TLS != nil && r.TLS.NegotiatedProtocol == "h2" }

// What HTTP/1.1 lets be in a method beside letters and digits (RFC 9110 §5.6.2), and
// in a host (RFC 3986 §3.2.2, with a port). net/http asks that over HTTP/1.1 only.
const (
	methodMarks = "!#$%&'*+-.^_`|~"
	hostMarks   = "!$%&'()*+,-.:;=[]_~"
)

// checkStream refuses what HTTP/2 lets through, and HTTP/1.1 towards the backend
// has no place for: a blank in the path would end it there, a method that is no
// token would be taken for a fault of the backend, and in the place of a host that
// is none the backend would get an empty one, or its own.
func checkStream(r *http.Request) *access.Refusal {
	bad := func(text string) *access.Refusal {
		return &access.Refusal{Status: http.StatusBadRequest, Reason: "target", Text: text}
	}
	switch {
	case strings.ContainsFunc(r.RequestURI, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		return bad("the request target has a blank or a control character")
	case !consistsOf(r.Method, methodMarks):
		return bad("the method is no token")
	case !consistsOf(r.Host, hostMarks):
		return bad("the authority is no host")
	}
	return nil
}

// consistsOf reports whether s is of ASCII letters, digits and marks, and not empty.
func consistsOf(s, marks string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && !strings.ContainsRune(marks, c)
	})
}

// takeStream takes a token for the backend's socket of a request over HTTP/2: the
// tokens are reckoned with one request for each client socket, and here a socket
// has up to maxStreams. The last quarter is left for those who have no socket yet.
func (s *slots) takeStream() bool {
	if len(s.free) <= cap(s.free)/4 {
		return false
	}
	select {
	case <-s.free:
		return true
	default:
		return false
	}
}
