package certs

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

// keepAll starts the keeping of names, and waits a while for what storage has of them.
func (m *managed) keepAll(names []string) {
	var loading sync.WaitGroup
	loading.Add(len(names))
	m.mu.Lock()
	for _, name := range names {
		ctx, cancel := context.WithCancel(m.life)
		m.keeps[name] = cancel
		m.keeping.Go(func() {
			defer cancel()
			_, _ = m.steady.CacheManagedCertificate(ctx, name) // ensure says what is wrong
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

// keep tries until there is a good certificate for name, or ctx is done. From then on
// certmagic renews it.
func (m *managed) keep(ctx context.Context, name string) {
	select {
	case <-m.begun:
	case <-ctx.Done():
		return
	}
	for attempt := 0; ; attempt++ {
		err := m.ensure(context.WithValue(ctx, certmagic.AttemptsCtxKey, &attempt), m.steady, name)
		if err == nil || ctx.Err() != nil {
			return
		}
		wait := m.pause(attempt, err)
		m.env.Log.Warn("could not get a certificate; trying again", "name", name, "authority", m.authority,
			"err", plain(err), "do", remedy(err), "in", wait.Round(time.Second))
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// ensure gets a good certificate for name into memory: from storage, else by an order.
// An old one is served meanwhile.
func (m *managed) ensure(ctx context.Context, config *certmagic.Config, name string) error {
	old, err := config.CacheManagedCertificate(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = m.order(ctx, name, "obtain", config.ObtainCertSync)
	case err != nil:
		m.env.Log.Warn("the stored certificate cannot be used; getting another", "name", name, "err", err)
		err = m.order(ctx, name, "renew", func(ctx context.Context, name string) error { return config.RenewCertSync(ctx, name, true) })
	case !old.NeedsRenewal(config):
		return nil
	default:
		if old.Expired() {
			m.env.Log.Warn("the stored certificate has expired; renewing it", "name", name, "expires", old.Leaf.NotAfter)
		}
		err = m.order(ctx, name, "renew", func(ctx context.Context, name string) error { return config.RenewCertSync(ctx, name, false) })
	}
	if err != nil {
		return err
	}
	now, err := config.CacheManagedCertificate(ctx, name)
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

// order has do order a certificate for name, when it is its turn, and counts and keeps
// what went wrong.
func (m *managed) order(ctx context.Context, name, stage string, do func(context.Context, string) error) error {
	select {
	case m.orders <- struct{}{}:
		defer func() { <-m.orders }()
	case <-ctx.Done():
		return ctx.Err()
	}
	before := m.store.faults.Load()
	err := do(context.WithValue(ctx, effortKey{}, &effort{time.Now()}), name)
	switch {
	case err == nil:
		m.note(name, nil)
	case ctx.Err() != nil:
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
