// Package certs keeps the tls.Config fresh by which clients' TLS ends here.
//
// Mode files serves pairs of PEM files that something else renews. The modes acme
// and internal get and renew certificates themselves, by certmagic: acme from an
// authority that speaks ACME (RFC 8555), internal from a local one whose root is made
// on the first start. certmagic has a Config and a Cache of our own, and its package
// globals are left alone; it opens no listener.
//
// A new certificate is for handshakes from then on; connections that live keep what
// they have.
package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"syscall"
	"time"
)

// soon is what a certificate may have left before its end is a warning.
const soon = 14 * 24 * time.Hour

// An Environment is what a Source takes from its surroundings and not from its
// settings. The zero value is right but for the log.
type Environment struct {
	// Log is where the log goes. Default: nowhere.
	Log *slog.Logger
	// Renewed is told of each certificate that was got in another's place, and
	// Failed of each failure, by one of Stages. Both may be called from many
	// goroutines at once. Default: nobody is told.
	Renewed func()
	Failed  func(stage string)
	// Handshake is what a handshake may wait for a certificate that is on order.
	// The order goes on without it. Default 5s.
	Handshake time.Duration
	// Every is how often certificates are looked at for renewal; one with less than
	// five times that left is renewed at once. Waits between failures grow to six
	// times that. Default 10 minutes.
	Every time.Duration
}

// Stages are where getting a certificate can fail: at an order for a new one, at one
// for another in its place, at storage, or at on_demand.ask.
var Stages = []string{"obtain", "renew", "storage", "ask"}

func (e Environment) withDefaults() Environment {
	if e.Log == nil {
		e.Log = slog.New(slog.DiscardHandler)
	}
	if e.Renewed == nil {
		e.Renewed = func() {}
	}
	if e.Failed == nil {
		e.Failed = func(string) {}
	}
	if e.Handshake <= 0 {
		e.Handshake = 5 * time.Second
	}
	if e.Every <= 0 {
		e.Every = 10 * time.Minute
	}
	return e
}

// A Source is a tls.Config and what keeps it fresh. Its methods may be called from
// many goroutines at once.
type Source struct{ keeper }

// A keeper is what differs between the modes; its methods are those of Source.
type keeper interface {
	get(*tls.ClientHelloInfo) (*tls.Certificate, error)
	protocols() []string

	Serves(host string) bool
	Challenge(http.ResponseWriter, *http.Request) bool
	Certificates() []Certificate
	Fresh() bool
	Missing() error
	Prepare(Settings) (use func(), err error)
	Begin()
	Close()
}

// A Certificate is what is known of one that is served.
type Certificate struct {
	Names   []string // at least one, addresses among them
	Expires time.Time
}

// Check opens what s names, and tells every fault: key, value and remedy. Nothing is
// made, and no authority asked.
func Check(s Settings) error {
	if s.Managed() {
		_, storage := s.checkedDir()
		_, roots := s.roots()
		_, mac := s.EAB.mac()
		return errors.Join(storage, roots, mac)
	}
	_, err := loadAll(filesOf(s))
	return err
}

// checkedDir is Dir, and a fault if something else is there.
func (s Settings) checkedDir() (string, error) {
	dir, err := s.Dir()
	if err != nil {
		return "", err
	}
	// ENOTDIR: a file is where the path goes through.
	if info, err := os.Stat(dir); err == nil && !info.IsDir() || errors.Is(err, syscall.ENOTDIR) {
		return "", fmt.Errorf("tls.storage: %q is no directory; name one that outlives the program", dir)
	}
	return dir, nil
}

// Start is Environment.Start with nothing but a log.
func Start(s Settings, log *slog.Logger) (*Source, error) { return Environment{Log: log}.Start(s) }

// Start reads what s names, which must be as Check wants it, and keeps it fresh until
// Close. s is of any mode but off. It asks no authority, and waits for none: what is
// missing is ordered after Begin, and until then named by Missing.
func (e Environment) Start(s Settings) (*Source, error) {
	e = e.withDefaults()
	if s.Managed() {
		m, err := startManaged(s, e)
		if err != nil {
			return nil, err
		}
		return &Source{m}, nil
	}
	if s.Mode != modeFiles {
		return nil, fmt.Errorf("tls.mode: %q is not served", s.Mode)
	}
	f, err := startFolder(s, e)
	if err != nil {
		return nil, err
	}
	return &Source{f}, nil
}

// TLSConfig is for listeners: TLS 1.2 and up, HTTP/2 and HTTP/1.1 by ALPN, and the
// protocol of the challenge tls-alpn-01 behind them, which ends with its handshake.
// Renegotiation, which TLS 1.2 still has, is not in crypto/tls for servers.
//
// With mode files a client that names a host which no certificate has gets the first
// all the same, and judges for itself. With the others it gets the alert
// unrecognized_name, so that no stranger's name leads to an order.
func (c *Source) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: append([]string{"h2", "http/1.1"}, c.protocols()...),
		// Small records at first would show a page sooner, and cost each message of
		// a WebSocket that was idle for a second more.
		DynamicRecordSizingDisabled: true,
		GetCertificate:              c.certificate,
	}
}

// certificate is get, with an error that Failure knows.
func (c *Source) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	one, err := c.get(hello)
	if err != nil {
		err = missing{err}
	}
	return one, err
}

// Expiry is the first end of a certificate in use; zero where there is none.
func (c *Source) Expiry() time.Time {
	var first time.Time
	for _, one := range c.Certificates() {
		if first.IsZero() || one.Expires.Before(first) {
			first = one.Expires
		}
	}
	return first
}

// contextOf is the handshake's. A ClientHelloInfo that a test made has none.
func contextOf(h *tls.ClientHelloInfo) context.Context {
	if ctx := h.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}
