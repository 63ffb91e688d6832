package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

const (
	// jobTime bounds the getting of one certificate on demand.
	jobTime = 3 * time.Minute
	// idleAfter is how long a name on demand must not have been asked for, in the second
	// half of its certificate's life, to count as left by everybody.
	idleAfter = 24 * time.Hour
)

// An asked is a name on demand that has its certificate in memory.
type asked struct {
	looked time.Time // when renewal was last thought of
}

// A denied is a name on demand that was allowed, and whose last order failed. They are
// kept apart: names that strangers make up push no certificate out of memory.
type denied struct {
	failures int       // since it went well
	until    time.Time // no order before
}

var (
	errLater = errors.New("getting a certificate failed a short time ago")
	// errEnded is for one that is new and has expired: with a clock that is far ahead
	// each handshake would lead to an order, and the orders to the authority's limits.
	errEnded = errors.New("the new certificate has expired by this machine's clock")
)

// demanded is the certificate of a handshake for a name on demand; c is the one in
// memory, if it is found. Whoever comes first has it read from storage, ordered or
// renewed, once for all; only who cannot be served otherwise waits, and not for longer
// than a handshake may.
func (m *managed) demanded(hello *tls.ClientHelloInfo, name string, g *gate, c certmagic.Certificate, found bool) (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeout(contextOf(hello), m.env.Handshake*9/10) // the rest is for the alert
	defer cancel()
	if !found {
		if err := m.await(ctx, &m.fetches, name, func() error { return m.fetch(name, g) }); err != nil {
			return nil, unlessRefused(err)
		}
		c, found = m.hot.find(name)
	}
	good := found && !c.Expired()
	if good && !m.due(name, c) {
		return &c.Certificate, nil
	}
	if good {
		m.jobs.join(name, func() error { return m.supply(name, g) })
		return &c.Certificate, nil
	}
	err := m.await(ctx, &m.jobs, name, func() error { return m.supply(name, g) })
	c, found = m.hot.find(name)
	switch {
	case found && !errors.Is(err, errNotAllowed): // expired perhaps, as one of the scope
		return &c.Certificate, nil
	case err != nil:
		return nil, unlessRefused(err)
	}
	return nil, fmt.Errorf("there is no certificate for %q", name)
}

// await has do done for name, unless it is under way, and waits for its end.
func (m *managed) await(ctx context.Context, f *flight[error], name string, do func() error) error {
	job := f.join(name, do)
	if job == nil {
		return fmt.Errorf("getting a certificate on demand: %w", errBusy)
	}
	err, ended := job.wait(ctx)
	if !ended {
		return fmt.Errorf("the certificate for %q is still on order", name)
	}
	return err
}

// unlessRefused is nil, for the alert unrecognized_name, if err is that a name may have
// no certificate.
func unlessRefused(err error) error {
	if errors.Is(err, errNotAllowed) {
		return nil
	}
	return err
}

// fetch gets the certificate for name from storage into memory, if it is allowed and is
// there. It has places of its own: strangers' names may keep those for orders taken, and
// after a start all names are to be fetched.
func (m *managed) fetch(name string, g *gate) error {
	ctx, cancel := context.WithTimeout(m.life, jobTime)
	defer cancel()
	if err := g.judge(ctx, name); err != nil {
		m.env.Log.Debug("no certificate on demand", "name", name, "err", err)
		return err
	}
	if _, err := m.load(ctx, m.demand, name); err != nil {
		return nil // which is for supply to judge
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.admit(name, &asked{})
	return nil
}

// admit remembers name, whose certificate is in memory, unless a reload has taken it out
// meanwhile. It is for who has the lock.
func (m *managed) admit(name string, a *asked) {
	m.asked.Add(name, a)
	if g := m.scope.Load().gate; g == nil || !g.allows(name) {
		m.asked.Remove(name) // which forgets it
	}
}

// idle reports whether nobody asks any more for name, which is in asked. It is for who
// has the lock.
func (m *managed) idle(name string) bool {
	a, _ := m.asked.Peek(name)
	c, found := m.hot.exact(name)
	return found && m.late(c) && time.Since(a.looked) > idleAfter
}

// late reports whether c is in the second half of its life, or near its end.
func (m *managed) late(c certmagic.Certificate) bool {
	left := time.Until(c.Leaf.NotAfter)
	return left <= c.Lifetime()/2 || left <= 5*m.env.Every
}

// due reports whether it is time to renew c. That is asked in the second half of its
// life only, and not at every handshake.
func (m *managed) due(name string, c certmagic.Certificate) bool {
	if !m.late(c) || m.tooSoon(name) {
		return false
	}
	m.mu.Lock()
	a, known := m.asked.Get(name)
	if known && time.Since(a.looked) < m.env.Every/2 {
		m.mu.Unlock()
		return false
	}
	if known {
		a.looked = time.Now()
	}
	m.mu.Unlock()
	return c.NeedsRenewal(m.demand)
}

// supply gets a certificate for name into memory if it is allowed.
func (m *managed) supply(name string, g *gate) error {
	ctx, cancel := context.WithTimeout(m.life, jobTime)
	defer cancel()
	if err := g.judge(ctx, name); err != nil {
		m.env.Log.Debug("no certificate on demand", "name", name, "err", err)
		return err
	}
	if m.tooSoon(name) {
		return errLater
	}
	err := m.ensure(ctx, m.demand, name)
	if c, found := m.hot.exact(name); err == nil && found && c.Expired() {
		err = errEnded
	}
	if m.life.Err() == nil || err == nil {
		m.supplied(name, err)
	}
	return err
}

func (m *managed) tooSoon(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, known := m.denied.Get(name)
	return known && time.Now().Before(d.until)
}

// supplied remembers what became of a job.
func (m *managed) supplied(name string, err error) {
	wait := m.remember(name, err)
	if err == nil {
		return
	}
	level := slog.LevelWarn
	if !m.lines.take() {
		level = slog.LevelDebug
	}
	m.env.Log.Log(m.life, level, "could not get a certificate on demand; there is no order for it for now", "name", name,
		"authority", m.authority, "err", plain(err), "do", remedy(err), "for", wait.Round(time.Second))
}

// remember returns how long there is no order for name, if err is why there is no
// certificate.
func (m *managed) remember(name string, err error) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.denied.Remove(name)
		m.admit(name, &asked{time.Now()})
		return 0
	}
	if _, found := m.hot.exact(name); found { // an old one, of which is thought again later
		m.admit(name, &asked{time.Now()})
	}
	d, _ := m.denied.Get(name)
	wait := m.pause(d.failures, err)
	m.denied.Add(name, denied{d.failures + 1, time.Now().Add(wait)})
	return wait
}

// A ration bounds the lines in the log that strangers' names cause: linesAtOnce, and
// one more each linesEvery.
type ration struct {
	mu   sync.Mutex
	left float64
	then time.Time
}

const (
	linesAtOnce = 20
	linesEvery  = 10 * time.Second
)

func newRation() *ration { return &ration{left: linesAtOnce, then: time.Now()} }

func (r *ration) take() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.left = min(linesAtOnce, r.left+float64(now.Sub(r.then))/float64(linesEvery))
	r.then = now
	if r.left < 1 {
		return false
	}
	r.left--
	return true
}

// forget is told of the names that are remembered no longer.
func (m *managed) forget(name string, _ *asked) {
	if _, own := m.scope.Load().names[name]; own || m.life.Err() != nil {
		return
	}
	m.hot.drop(name)
	// certmagic's memory may be locked, and m is.
	m.keeping.Go(func() { m.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: name}}) })
}

// Prepare returns what makes the names and the on-demand of s those to get
// certificates for. Other settings need a restart.
func (m *managed) Prepare(s Settings) (use func(), err error) {
	return func() { m.adopt(s) }, nil
}

func (m *managed) adopt(s Settings) {
	old := m.scope.Load()
	next := m.scopeOf(s, old)
	m.scope.Store(next)
	m.cache.RemoveManaged(m.drop(old, next))
	var added []string
	m.mu.Lock()
	for _, n := range next.list {
		if m.keeps[n] == nil {
			added = append(added, n)
		}
	}
	m.mu.Unlock()
	m.keepAll(added)
	if old.gate != next.gate {
		old.gate.close() // which waits for questions, at most for askTime
	}
}

// drop lets go of what is in old and not in next, and returns which of the scope's
// names certmagic is to forget.
func (m *managed) drop(old, next *scope) (gone []certmagic.SubjectIssuer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range old.list {
		if _, stays := next.names[n]; !stays {
			if cancel := m.keeps[n]; cancel != nil { // nil: it came behind the end
				cancel()
			}
			delete(m.keeps, n)
			delete(m.faults, n)
			m.hot.drop(n)
			gone = append(gone, certmagic.SubjectIssuer{Subject: n})
		}
	}
	for _, n := range m.asked.Keys() {
		if next.gate == nil || !next.gate.allows(n) {
			m.asked.Remove(n) // which forgets it
		}
	}
	return gone
}
