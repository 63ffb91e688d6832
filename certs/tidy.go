package certs

import (
	"context"
	"time"

	"github.com/caddyserver/certmagic"
)

const (
	// keptFor is how long a certificate that has expired stays in storage, and
	// tidyEvery how often what is older is cleared away, by one of the instances.
	keptFor   = 30 * 24 * time.Hour
	tidyEvery = 24 * time.Hour
)

// clearAway removes certificates and keys from storage that have expired long ago, as
// those on demand do that nobody asks for any more. It looks for them six times Every
// after the start, so that a start has other things to do, and then every day.
func (m *managed) clearAway() {
	select {
	case <-m.begun:
	case <-m.life.Done():
		return
	}
	t := time.NewTimer(6 * m.env.Every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-m.life.Done():
			return
		}
		if err := m.tidy(m.life); err != nil && m.life.Err() == nil {
			m.env.Log.Warn("could not clear expired certificates away; it is tried again tomorrow", "storage", m.store.path, "err", err)
		}
		t.Reset(tidyEvery)
	}
}

func (m *managed) tidy(ctx context.Context) error {
	return certmagic.CleanStorage(ctx, m.store, certmagic.CleanStorageOptions{
		Logger: m.steady.Logger, Interval: tidyEvery / 2, ExpiredCerts: true, ExpiredCertGracePeriod: keptFor,
	})
}
