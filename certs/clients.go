package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"log/slog"
	"sync/atomic"
	"time"
)

// Clients know which certificates clients must have. The file of the roots is read
// every ten seconds and at a reload, as those of a Source are. New roots count for
// handshakes, and for requests on connections that live; a WebSocket that is open
// goes on. Its methods may be called from many goroutines at once.
type Clients struct {
	log     *slog.Logger
	stop    context.CancelFunc
	ended   chan struct{}
	inForce atomic.Pointer[Terms] // nil: clients are not asked
	stale   atomic.Bool           // the file holds what cannot be used
	seen    [sha256.Size]byte     // the watcher's
	told    [sha256.Size]byte     // what was complained about; the watcher's
}

// CheckClients opens what a names, and tells every fault: key, value and remedy.
func CheckClients(a ClientAuth) error {
	_, err := termsOf(a)
	return err
}

func termsOf(a ClientAuth) (*Terms, error) {
	if !a.On() {
		return nil, nil
	}
	r, err := loadRoots(a.CA)
	if err != nil {
		return nil, err
	}
	return &Terms{a.orDefault(), r}, nil
}

// StartClients reads what a names, which must be there and good, and keeps it fresh
// until Close.
func StartClients(a ClientAuth, log *slog.Logger) (*Clients, error) {
	t, err := termsOf(a)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Clients{log: log, stop: stop, ended: make(chan struct{})}
	c.inForce.Store(t)
	c.tell(t)
	go c.watch(ctx)
	return c, nil
}

// Close ends the reading of files, and waits for its end. It may be called again, and
// on nil.
func (c *Clients) Close() {
	if c == nil {
		return
	}
	c.stop()
	<-c.ended
}

// Terms are those in force, nil where clients are not asked for certificates. c may
// be nil.
func (c *Clients) Terms() *Terms {
	if c == nil {
		return nil
	}
	return c.inForce.Load()
}

// Fresh reports whether the file held what can be used when it was last read. c may be
// nil. A look that was under way as a reload ended the asking says nothing.
func (c *Clients) Fresh() bool { return c.Terms() == nil || !c.stale.Load() }

// Expiry is the first end of a root in force; zero where clients are not asked.
func (c *Clients) Expiry() time.Time {
	if t := c.Terms(); t != nil {
		return t.roots.ends
	}
	return time.Time{}
}

// Prepare reads what a names and returns what puts it in force. Nothing has changed
// until that is called, and nothing ever if there is an error.
func (c *Clients) Prepare(a ClientAuth) (use func(), err error) {
	t, err := termsOf(a)
	if err != nil {
		return nil, err
	}
	return func() {
		old := c.inForce.Swap(t)
		c.stale.Store(false)
		if old == nil || t == nil || old.auth != t.auth || old.roots.sum != t.roots.sum {
			c.tell(t)
		}
	}, nil
}

// tell logs what is in force from now on.
func (c *Clients) tell(t *Terms) {
	if t == nil {
		return
	}
	log := c.log.With("file", t.auth.CA, "mode", t.auth.Mode, "header", t.auth.Header, "roots", len(t.roots.known), "expires", t.roots.ends)
	if time.Now().After(t.roots.ends) {
		log.Warn("a root of clients' certificates has expired; what it has signed is refused")
		return
	}
	log.Info("clients are asked for certificates")
}

// Protect has handshakes by conf ask clients for what the terms say at that time.
// conf's own GetConfigForClient, if it has one, is asked first. Challenges of an ACME
// authority pass, where conf answers them: they end with the handshake, and nobody can
// come back by a ticket from one.
func (c *Clients) Protect(conf *tls.Config) {
	own, base := conf.GetConfigForClient, conf
	var last atomic.Pointer[made]
	conf.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		t, under := c.Terms(), base
		if own != nil {
			chosen, err := own(hello)
			if err != nil {
				return nil, err
			}
			if chosen != nil {
				under = chosen
			}
		}
		switch {
		case onlyChallenge(hello, under):
			return forChallenge(under), nil
		case t == nil && under == base:
			return nil, nil
		case t == nil:
			return under, nil
		}
		m := last.Load()
		if m == nil || m.terms != t || m.under != under {
			m = &made{t, under, t.over(under)}
			last.Store(m)
		}
		return m.conf, nil
	}
}

// A made is what handshakes under the same terms share: each connection keeps its
// tls.Config for as long as it lives.
type made struct {
	terms       *Terms
	under, conf *tls.Config
}

// watch looks at the file until ctx is done.
func (c *Clients) watch(ctx context.Context) {
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

// look reads the file once. A change counts once two looks in a row have found the
// same, since a file may be seen half written.
func (c *Clients) look() {
	old := c.inForce.Load()
	if old == nil {
		return
	}
	text, now, err := readRoots(old.auth.CA)
	switch {
	case now == old.roots.sum:
		c.told = [sha256.Size]byte{}
		c.stale.Store(false)
	case now != c.seen, now == c.told:
	case !c.renew(old, text, now, err):
		c.told = now
	}
	c.seen = now
}

// renew puts what was read in force, unless a reload was meanwhile, or says why it
// cannot be and returns false.
func (c *Clients) renew(old *Terms, text []byte, sum [sha256.Size]byte, err error) bool {
	var r *roots
	if err == nil {
		r, err = parseRoots(old.auth.CA, text, sum)
	}
	c.stale.Store(err != nil)
	if err != nil {
		c.log.Error("the new roots of clients' certificates cannot be used; the old ones go on", "err", err)
		return false
	}
	if t := (&Terms{old.auth, r}); c.inForce.CompareAndSwap(old, t) {
		c.tell(t)
	}
	return true
}
