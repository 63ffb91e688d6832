package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/certmagic"
)

// jobTime bounds the getting of one certificate on demand.
const jobTime = 3 * time.Minute

// An asked is a name on demand that was allowed.
type asked struct {
	looked   time.Time // when renewal was last thought of
	failures int       // since it went well
	until    time.Time // no order before
}

var errLater = errors.New("getting a certificate failed a short time ago")

// demanded is the certificate of a handshake for a name on demand; c is the one in
// memory, if it is found. Whoever comes first has it ordered or renewed, once for all;
// only who cannot be served otherwise waits, and not for longer than a handshake may.
func (m *managed) demanded(hello *tls.ClientHelloInfo, name string, g *gate, c certmagic.Certificate, found bool) (*tls.Certificate, error) {
	good := found && !c.Expired()
	if good && !m.due(name, c) {
		return &c.Certificate, nil
	}
	job := m.jobs.join(name, func() error { return m.supply(name, g) })
	switch {
	case good:
		return &c.Certificate, nil
	case job == nil:
		return nil, fmt.Errorf("getting a certificate on demand: %w", errBusy)
	}
	ctx, cancel := context.WithTimeout(contextOf(hello), m.env.Handshake*9/10) // the rest is for the alert
	defer cancel()
	err, ended := job.wait(ctx)
	switch {
	case !ended:
		return nil, fmt.Errorf("the certificate for %q is still on order", name)
	case errors.Is(err, errNotAllowed):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if c, found = m.find(hello, name); !found {
		return nil, fmt.Errorf("there is no certificate for %q", name)
	}
	return &c.Certificate, nil
}

// due reports whether it is time to renew c. That is asked in the second half of its
// life only, and not at every handshake.
func (m *managed) due(name string, c certmagic.Certificate) bool {
	if time.Until(c.Leaf.NotAfter) > c.Lifetime()/2 && time.Until(c.Leaf.NotAfter) > 5*m.env.Every {
		return false
	}
	m.mu.Lock()
	a, known := m.asked.Get(name)
	if known && (time.Since(a.looked) < m.env.Every/2 || time.Now().Before(a.until)) {
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
	if ctx.Err() == nil || err == nil {
		m.supplied(name, err)
	}
	return err
}

func (m *managed) tooSoon(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, known := m.asked.Get(name)
	return known && time.Now().Before(a.until)
}

// supplied remembers what became of a job.
func (m *managed) supplied(name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, known := m.asked.Get(name)
	if !known {
		a = &asked{}
		m.asked.Add(name, a)
	}
	a.looked = time.Now()
	if err == nil {
		a.failures, a.until = 0, time.Time{}
		return
	}
	wait := m.pause(a.failures, err)
	a.failures++
	a.until = time.Now().Add(wait)
	m.env.Log.Warn("could not get a certificate on demand; handshakes for it fail for now", "name", name, "authority", m.authority,
		"err", plain(err), "do", remedy(err), "for", wait.Round(time.Second))
}

// forget is told of the names that are remembered no longer.
func (m *managed) forget(name string, _ *asked) {
	if _, own := m.scope.Load().names[name]; !own {
		m.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: name}})
	}
}

// Prepare returns what makes the names and the on-demand of s those to get
// certificates for. Other settings need a restart.
func (m *managed) Prepare(s Settings) (use func(), err error) {
	return func() { m.adopt(s) }, nil
}

func (m *managed) adopt(s Settings) {
	old, next := m.scope.Load(), m.scopeOf(s)
	m.scope.Store(next)
	old.gate.close()
	m.drop(old, next)
	var added []string
	m.mu.Lock()
	for _, n := range next.list {
		if m.keeps[n] == nil {
			added = append(added, n)
		}
	}
	m.mu.Unlock()
	m.keepAll(added)
}

// drop lets go of what is in old and not in next.
func (m *managed) drop(old, next *scope) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range old.list {
		if _, stays := next.names[n]; !stays {
			m.keeps[n]()
			delete(m.keeps, n)
			delete(m.faults, n)
			m.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: n}})
		}
	}
	for _, n := range m.asked.Keys() {
		if next.gate == nil || !next.gate.allows(n) {
			m.asked.Remove(n) // which forgets it
		}
	}
}
