// Package certs keeps the tls.Config fresh by which clients' TLS ends here.
//
// So far there is one way: the mode files, a certificate and its key in PEM files
// that something else renews. They are read again every ten seconds and at a
// reload. A new pair is for handshakes from then on; connections that live keep
// what they have. A new pair that cannot be used is logged once, and the old one
// goes on.
package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// every is how often files are read. A change counts once two looks in a row
	// have found the same, since a file may be seen half written.
	every = 10 * time.Second
	// soon is what a certificate may have left before its end is a warning.
	soon = 14 * 24 * time.Hour
)

// A Source is a tls.Config and what keeps it fresh. Its methods may be called from
// many goroutines at once.
type Source struct {
	log    *slog.Logger
	stop   context.CancelFunc
	ended  chan struct{}
	stale  atomic.Bool // the files hold what cannot be used
	inUse  atomic.Pointer[pair]
	mu     sync.Mutex // makes one change of inUse at a time
	seen   [sha256.Size]byte
	told   [sha256.Size]byte // what was complained about; the watcher's, as seen is
	warned validity          // what was last logged of the pair in use; guarded by mu
}

// Check opens what s names, and tells every fault: key, value and remedy.
func Check(s Settings) error {
	if s.Mode != "files" {
		return nil
	}
	_, err := load(filesOf(s))
	return err
}

// Start reads what s names, which must be there and good, and keeps it fresh until
// Close. s is of mode files.
func Start(s Settings, log *slog.Logger) (*Source, error) {
	if s.Mode != "files" {
		return nil, fmt.Errorf("tls.mode: %q is not served", s.Mode)
	}
	p, err := load(filesOf(s))
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Source{log: log, stop: stop, ended: make(chan struct{})}
	c.use(p)
	go c.watch(ctx)
	return c, nil
}

// Close ends the reading of files, and waits for its end. It may be called again.
func (c *Source) Close() {
	c.stop()
	<-c.ended
}

// TLSConfig is for listeners: TLS 1.2 and up, HTTP/2 and HTTP/1.1 by ALPN.
// Renegotiation, which TLS 1.2 still has, is not in crypto/tls for servers. A
// client that names a host which the certificate does not have gets it all the
// same, and judges for itself.
func (c *Source) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		// Small records at first would show a page sooner, and cost each message of
		// a WebSocket that was idle for a second more.
		DynamicRecordSizingDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.inUse.Load().cert, nil
		},
	}
}

// Serves reports whether the certificate in use is for host, a name or an address
// without port.
func (c *Source) Serves(host string) bool { return c.inUse.Load().leaf.VerifyHostname(host) == nil }

// Expiry is the end of the certificate in use.
func (c *Source) Expiry() time.Time { return c.inUse.Load().leaf.NotAfter }

// Fresh reports whether the files, when last read, held a pair that can be used.
func (c *Source) Fresh() bool { return !c.stale.Load() }

// Prepare reads what s names and returns what puts it in force. Nothing has changed
// until that is called, and nothing ever if there is an error. The paths may be new.
func (c *Source) Prepare(s Settings) (use func(), err error) {
	p, err := load(filesOf(s))
	if err != nil {
		return nil, err
	}
	return func() { c.use(p) }, nil
}

// use puts p in force, unless the same is.
func (c *Source) use(p *pair) {
	c.stale.Store(false)
	c.mu.Lock()
	if old := c.inUse.Load(); old == nil || old.files != p.files || old.sum != p.sum {
		c.inUse.Store(p)
		c.warned = unknown
	}
	c.mu.Unlock()
	c.tellValidity()
}

// replace is use for what the watcher read: a reload may have changed the paths
// meanwhile.
func (c *Source) replace(old, p *pair) {
	c.mu.Lock()
	same := c.inUse.Load() == old
	c.mu.Unlock()
	if same {
		c.use(p)
	}
}

// watch looks at the files until ctx is done.
func (c *Source) watch(ctx context.Context) {
	defer close(c.ended)
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			c.look()
		case <-ctx.Done():
			return
		}
	}
}

// look reads the files once. Times and sizes of files are not asked: a clock that
// is too coarse would hide a change, and to read some KiB costs as little.
func (c *Source) look() {
	old := c.inUse.Load()
	text, err := old.files.read()
	now := text.sum()
	if err != nil {
		now = sha256.Sum256([]byte(err.Error()))
	}
	switch {
	case now == old.sum:
		c.told = [sha256.Size]byte{}
		c.stale.Store(false)
	case now != c.seen: // perhaps not written to its end
	case now == c.told:
	case !c.renew(old, text, err):
		c.told = now
	}
	c.seen = now
	c.tellValidity()
}

// renew puts what was read in force, or says why it cannot be and returns false. What
// was put in force a slow reload may replace by what it had read earlier: then it is
// to be renewed again.
func (c *Source) renew(old *pair, text content, err error) bool {
	var p *pair
	if err == nil {
		p, err = parse(old.files, text)
	}
	if err != nil {
		c.stale.Store(true)
		c.log.Error("the new certificate cannot be used; the old one goes on", "err", err, "expires", old.leaf.NotAfter)
		return false
	}
	c.replace(old, p)
	return true
}

// validity is what time makes of a certificate.
type validity int

const (
	unknown validity = iota
	good
	early
	ending
	expired
)

func (p *pair) validity(now time.Time) validity {
	switch {
	case now.After(p.leaf.NotAfter):
		return expired
	case now.Before(p.leaf.NotBefore):
		return early
	case p.leaf.NotAfter.Sub(now) < soon:
		return ending
	}
	return good
}

// tellValidity logs what time makes of the pair in use, when that has changed.
func (c *Source) tellValidity() {
	c.mu.Lock()
	p := c.inUse.Load()
	v := p.validity(time.Now())
	known := v == c.warned
	c.warned = v
	c.mu.Unlock()
	if known {
		return
	}
	log := c.log.With("file", p.files.cert, "names", names(p.leaf), "from", p.leaf.NotBefore, "expires", p.leaf.NotAfter)
	switch v {
	case expired:
		log.Warn("the certificate has expired; clients will refuse it")
	case early:
		log.Warn("the certificate is not valid yet; clients will refuse it")
	case ending:
		log.Warn("the certificate expires in less than 14 days")
	default:
		log.Info("certificate in use")
	}
}
