package server

import (
	"net/http"

	"sidecar/access"
	"sidecar/certs"
	"sidecar/config"
)

// startClients starts what knows the certificates that clients must have. closeCerts
// ends it.
func (s *Server) startClients() (err error) {
	if !s.boot.TLS.On() {
		return nil
	}
	if s.clients, err = certs.StartClients(s.boot.TLS.ClientAuth, s.log); err != nil {
		return err
	}
	s.metrics.ClientRoots(s.clients.Expiry)
	return nil
}

// prepareClients reads the roots of c, and returns what puts them in force. Where
// another tls.mode waits for a restart, what the clients of this one must show does too.
func (s *Server) prepareClients(c config.Config) (use func(), err error) {
	if s.clients == nil || c.TLS.Mode != s.boot.TLS.Mode {
		return func() {}, nil
	}
	return s.clients.Prepare(c.TLS.ClientAuth)
}

// introduce puts who the client is, by its certificate, into r's header for every
// backend that is asked because of r, and nothing that the client itself has put there.
// The refusal is for a connection that is older than the present terms, or than the
// end of its certificate: its client may try again on another (RFC 9110 §15.5.20).
func (s *Server) introduce(w http.ResponseWriter, r *http.Request) *access.Refusal {
	terms := s.clients.Terms()
	if terms == nil {
		return nil
	}
	access.DropVouched(r.Header, terms.Header())
	subject, ok, err := terms.Subject(r.TLS)
	switch {
	case err != nil:
		w.Header().Set("Connection", "close")
		s.log.Debug("client certificate is good no more", "err", err)
		return &access.Refusal{Status: http.StatusMisdirectedRequest, Reason: "certificate", Text: "this connection's client certificate is good no more"}
	case ok:
		r.Header[http.CanonicalHeaderKey(terms.Header())] = []string{subject}
	}
	return nil
}
