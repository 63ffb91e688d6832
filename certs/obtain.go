package certs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

// keepAll starts the keeping of names, and waits a while for what storage has of them.
func (m *managed) keepAll(names []string) {
	var loading sync.WaitGroup
	m.mu.Lock()
	if m.life.Err() != nil {
		m.mu.Unlock()
		return
	}
	loading.Add(len(names))
	for _, name := range names {
		ctx, cancel := context.WithCancel(m.life)
		m.keeps[name] = cancel
		m.keeping.Go(func() {
			defer cancel()
			_, _ = m.load(ctx, m.steady, name) // ensure says what is wrong
			loading.Done()
			m.keep(ctx, name)
		})
	}
	m.mu.Unlock()
	loaded := make(chan struct{})
	go func() {
		loading.Wait()
		close(loaded)
	}()
	late := time.NewTimer(loadTime)
	defer late.Stop()
	select {
	case <-loaded:
	case <-late.C:
	}
}

// keep sees to it that there is a good certificate for name, until ctx is done.
// certmagic renews it; what that cannot mend is mended here.
func (m *managed) keep(ctx context.Context, name string) {
	select {
	case <-m.begun:
	case <-ctx.Done():
		return
	}
	for m.attain(ctx, name) && m.ails(ctx, name) {
	}
}

// attain tries until there is a good certificate for name. False is the end of ctx.
func (m *managed) attain(ctx context.Context, name string) bool {
	for attempt := 0; ; attempt++ {
		err := m.ensure(context.WithValue(ctx, certmagic.AttemptsCtxKey, &attempt), m.steady, name)
		if err == nil || ctx.Err() != nil {
			return ctx.Err() == nil
		}
		wait := m.pause(attempt, err)
		m.env.Log.Warn("could not get a certificate; trying again", "name", name, "authority", m.authority,
			"err", plain(err), "do", remedy(err), "in", wait.Round(time.Second))
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false
		}
	}
}

// ails waits until there is no certificate for name in memory, or one that is to be
// renewed while storage holds what certmagic cannot renew. False is the end of ctx.
// What another instance has put into storage is served from then on: it may have heard
// from the authority (ARI, RFC 9773) that the old one is to go before its time.
func (m *managed) ails(ctx context.Context, name string) bool {
	t := time.NewTicker(m.env.Every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return false
		}
		c, found := m.hot.exact(name)
		if !found {
			return true
		}
		err := m.reread(ctx, name, c)
		if err != nil && c.NeedsRenewal(m.steady) && !errors.As(err, new(fault)) && !errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil {
			return true
		}
	}
}

// reread puts what storage has now in the place of old.
func (m *managed) reread(ctx context.Context, name string, old certmagic.Certificate) error {
	if err := take(ctx, m.reads); err != nil {
		return err
	}
	defer give(m.reads)
	now, err := m.load(ctx, m.steady, name)
	if err == nil && now.Hash() != old.Hash() {
		m.cache.Remove([]string{old.Hash()})
	}
	return err
}

// load gets the certificate for name that is in storage into memory.
func (m *managed) load(ctx context.Context, config *certmagic.Config, name string) (certmagic.Certificate, error) {
	c, err := config.CacheManagedCertificate(ctx, name)
	if err != nil {
		return c, err
	}
	switch {
	case !slices.Contains(c.Names, name):
		err = fmt.Errorf("it is for %q", c.Names)
	case m.local != nil && m.local.disowns(ctx, c.Leaf):
		err = errors.New("it is of another root than the one in storage")
	case !m.use(config, name, c):
		err = errors.New("it is for a name that is not wanted any more")
	default:
		return c, nil
	}
	if slices.Contains(c.Names, name) || !slices.ContainsFunc(c.Names, m.scope.Load().names.has) { // else it may be there by right
		m.cache.Remove([]string{c.Hash()})
	}
	return certmagic.Certificate{}, err
}

// use has c served for name, but for an expired one in a good one's place. False is for
// one of the scope's names that a reload has taken out while c was read.
func (m *managed) use(config *certmagic.Config, name string, c certmagic.Certificate) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, kept := m.keeps[name]; config == m.steady && !kept {
		return false
	}
	if was, found := m.hot.exact(name); !found || was.Expired() || !c.Expired() {
		m.hot.put(name, c)
	}
	return true
}

// discard makes certmagic believe that storage has nothing for name, whose certificate
// there cannot be used: it would read it again with each try to renew it. That is so
// only if no other instance has put a good one there meanwhile.
func (m *managed) discard(ctx context.Context, config *certmagic.Config, name string) error {
	lock := "issue_cert_" + name // certmagic's, of its orders
	if err := m.store.Lock(ctx, lock); err != nil {
		return fmt.Errorf("locking storage: %w", err)
	}
	defer func() { _ = m.store.Unlock(context.WithoutCancel(ctx), lock) }()
	if _, err := m.load(ctx, config, name); err == nil || errors.Is(err, fs.ErrNotExist) || errors.As(err, new(fault)) {
		return err
	}
	return m.store.Delete(ctx, certmagic.StorageKeys.SiteMeta(config.Issuers[0].IssuerKey(), name))
}

// ensure gets a good certificate for name into memory: from storage, else by an order.
// An old one is served meanwhile.
func (m *managed) ensure(ctx context.Context, config *certmagic.Config, name string) error {
	old, err := m.load(ctx, config, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = m.order(ctx, config, name, "obtain", config.ObtainCertSync)
	case ctx.Err() != nil:
	case errors.As(err, new(fault)): // what is there may be good
		m.note(name, err)
	case err != nil:
		m.env.Log.Warn("the stored certificate cannot be used; getting another", "name", name, "err", err)
		if err = m.discard(ctx, config, name); err == nil || errors.Is(err, fs.ErrNotExist) {
			err = m.order(ctx, config, name, "obtain", config.ObtainCertSync)
		}
	case !old.NeedsRenewal(config):
		return nil
	default:
		if old.Expired() {
			m.env.Log.Warn("the stored certificate has expired; renewing it", "name", name, "expires", old.Leaf.NotAfter)
		}
		err = m.order(ctx, config, name, "renew", func(ctx context.Context, name string) error { return config.RenewCertSync(ctx, name, false) })
	}
	if err != nil {
		return err
	}
	now, err := m.load(ctx, config, name)
	if err != nil {
		return err
	}
	if !old.Empty() && old.Hash() != now.Hash() {
		m.cache.Remove([]string{old.Hash()})
	}
	return nil
}

// An effort is an order of ours, as the events of certmagic find it in the context.
// Those of its own renewals have none.
type effort struct{ start time.Time }

type effortKey struct{}

// take takes a token, which give gives back, when it is its turn.
func take(ctx context.Context, tokens chan struct{}) error {
	select {
	case tokens <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func give(tokens chan struct{}) { <-tokens }

// order has do order a certificate for name, when it is its turn, and counts and keeps
// what went wrong.
func (m *managed) order(ctx context.Context, config *certmagic.Config, name, stage string, do func(context.Context, string) error) error {
	if config == m.demand {
		if err := take(ctx, m.strange); err != nil {
			return err
		}
		defer give(m.strange)
	}
	if err := take(ctx, m.orders); err != nil {
		return err
	}
	defer give(m.orders)
	before := m.store.faults.Load()
	err := do(context.WithValue(ctx, effortKey{}, &effort{time.Now()}), name)
	switch {
	case err == nil:
		m.note(name, nil)
	case errors.Is(ctx.Err(), context.Canceled): // and not one that hangs until its time is over
	default:
		m.note(name, err)
		if m.store.faults.Load() == before { // else it was counted there
			m.env.Failed(stage)
		}
	}
	return err
}

// note keeps what became of the last order for name, if it is one of the scope.
func (m *managed) note(name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, kept := m.keeps[name]
	if err != nil && kept {
		m.faults[name] = errors.New(plain(err))
		return
	}
	delete(m.faults, name)
}

// pause is how long to wait after so many failures, a tenth more or less so that
// instances do not go in step. An authority that refused is asked less often than one
// that could not be reached: refusals count against its limits.
func (m *managed) pause(attempt int, err error) time.Duration {
	first, most := 5*time.Second, 6*m.env.Every
	var refused acme.Problem
	if errors.As(err, &refused) {
		first = time.Minute
	}
	wait := min(first<<min(attempt, 10), most)
	return wait + time.Duration((rand.Float64()-0.5)/5*float64(wait))
}
