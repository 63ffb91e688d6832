package certs

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// Failures are why a handshake with a client can fail, as Failure sorts them.
var Failures = []string{"unknown_name", "no_certificate", "client_certificate", "refused", "gone", "timeout", "protocol"}

// A missing is the fault of a handshake for a name that has no certificate now.
type missing struct{ error }

func (m missing) Unwrap() error { return m.error }

// An unproven is the fault of a client by its certificate.
type unproven struct{ error }

func (u unproven) Unwrap() error { return u.error }

// Failure sorts the error that a handshake by a Source's TLSConfig ended with:
//
//   - unknown_name: the client names no host of ours
//   - no_certificate: there is none for that host yet
//   - client_certificate: the client's is bad, or it has none and needs one
//   - refused: the client sent an alert; it does not trust our certificate, perhaps
//   - gone: the client hung up, as port scans and checks of health do
//   - timeout: it took too long
//   - protocol: the client speaks no TLS, or nothing that is served here
//
// crypto/tls has no types for two of them, but words, which a test keeps watch over.
func Failure(err error) string {
	var network net.Error
	var alert *net.OpError
	switch {
	case errors.As(err, new(missing)):
		return "no_certificate"
	case errors.As(err, &alert) && alert.Op == "remote error":
		return "refused"
	case isUnproven(err):
		return "client_certificate"
	case err.Error() == "tls: no certificates configured":
		return "unknown_name"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return "gone"
	}
	return "protocol"
}

func isUnproven(err error) bool {
	var chain *tls.CertificateVerificationError
	text := err.Error()
	return errors.As(err, new(unproven)) || errors.As(err, &chain) ||
		text == "tls: client didn't provide a certificate" || strings.HasPrefix(text, "tls: ") && strings.Contains(text, " client certificate")
}
