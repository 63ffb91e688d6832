package certs

import (
	"crypto/tls"
	"errors"
	"slices"
)

// acmeTLS is the protocol of a certificate authority that looks whether a name is
// ours (RFC 8737). It has no certificate of its own to show.
const acmeTLS = "acme-tls/1"

// Terms are what clients' certificates must meet. They do not change.
type Terms struct {
	auth  ClientAuth
	roots *roots
}

// Header is the header for the subject, which no client may set.
func (t *Terms) Header() string { return t.auth.Header }

var (
	errNoCertificate = errors.New("client has shown no certificate")
	errExpired       = errors.New("client certificate, or what signed it, has expired")
)

// Subject says who is at the other end of a connection, as RFC 4514 writes it, in
// printable ASCII (subjectOf) and at most 2 KiB; ok is false where a client shows no
// certificate and needs none. An error is for a connection from before the terms, or
// from before the end of the certificate or of one that it leads to a root by: a
// handshake now would fail.
func (t *Terms) Subject(s *tls.ConnectionState) (subject string, ok bool, err error) {
	if s == nil || len(s.PeerCertificates) == 0 {
		if t.auth.Mode == "require" {
			return "", false, errNoCertificate
		}
		return "", false, nil
	}
	if err := t.roots.check(s.VerifiedChains); err != nil {
		return "", false, err
	}
	subject, err = subjectOf(s.PeerCertificates[0])
	return subject, err == nil, err
}

// verify is asked at the end of each handshake, resumed ones among them.
func (t *Terms) verify(s tls.ConnectionState) error {
	if _, _, err := t.Subject(&s); err != nil {
		return unproven{err}
	}
	return nil
}

// over is base for handshakes under t.
func (t *Terms) over(base *tls.Config) *tls.Config {
	c := base.Clone()
	c.GetConfigForClient = nil
	c.ClientCAs, c.ClientAuth, c.VerifyConnection = t.roots.pool, tls.RequireAndVerifyClientCert, t.verify
	if t.auth.Mode == "request" {
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return c
}

// onlyChallenge knows a handshake that can lead to nothing but the answer to an ACME
// challenge: whoever offers another protocol too might be served by that one.
func onlyChallenge(hello *tls.ClientHelloInfo, base *tls.Config) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acmeTLS && slices.Contains(base.NextProtos, acmeTLS)
}

// forChallenge is base for such a handshake: it agrees on nothing else, and leaves no
// ticket by which a client without certificate could come back, or be served before we
// have a certificate of our own.
func forChallenge(base *tls.Config) *tls.Config {
	c := base.Clone()
	c.GetConfigForClient = nil
	c.NextProtos, c.SessionTicketsDisabled = []string{acmeTLS}, true
	return c
}
