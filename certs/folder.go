package certs

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// every is how often files are read. A change counts once two looks in a row have
// found the same, since a file may be seen half written.
const every = 10 * time.Second

// A folder serves pairs of files, which it reads again every ten seconds and at a
// reload. A new pair that cannot be used is logged once, and the old one goes on.
type folder struct {
	log   *slog.Logger
	stop  context.CancelFunc
	ended chan struct{}
	using sync.Mutex // makes one change of pairs at a time
	pairs atomic.Pointer[[]*watched]
}

func startFolder(s Settings, e Environment) (*folder, error) {
	pairs, err := loadAll(filesOf(s))
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	f := &folder{log: e.Log, stop: stop, ended: make(chan struct{})}
	f.pairs.Store(&[]*watched{})
	f.use(pairs)
	go f.watch(ctx)
	return f, nil
}

// Close ends the reading of files, and waits for its end. It may be called again.
func (f *folder) Close() {
	f.stop()
	<-f.ended
}

func (f *folder) Begin() {}

func (f *folder) protocols() []string { return nil }

func (f *folder) Challenge(http.ResponseWriter, *http.Request) bool { return false }

// get is the first pair that is for the name asked for and of a kind that the client
// understands, else the first for the name, else the first of all.
func (f *folder) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	all := *f.pairs.Load()
	if len(all) == 1 || hello.ServerName == "" {
		return all[0].inUse.Load().cert, nil
	}
	best := all[0].inUse.Load()
	found := false
	for _, w := range all {
		p := w.inUse.Load()
		if p.leaf.VerifyHostname(hello.ServerName) != nil {
			continue
		}
		if hello.SupportsCertificate(p.cert) == nil {
			return p.cert, nil
		}
		if !found {
			best, found = p, true
		}
	}
	return best.cert, nil
}

// Serves reports whether a certificate in use is for host, a name or an address
// without port.
func (f *folder) Serves(host string) bool {
	return slices.ContainsFunc(*f.pairs.Load(), func(w *watched) bool { return w.inUse.Load().leaf.VerifyHostname(host) == nil })
}

// Certificates are those in use, in the order of the settings.
func (f *folder) Certificates() []Certificate {
	var all []Certificate
	for _, w := range *f.pairs.Load() {
		if p := w.inUse.Load(); len(p.names) > 0 {
			all = append(all, Certificate{p.names, p.leaf.NotAfter})
		}
	}
	return all
}

// Fresh reports whether the files, when last read, all held pairs that can be used.
func (f *folder) Fresh() bool {
	return !slices.ContainsFunc(*f.pairs.Load(), func(w *watched) bool { return w.stale.Load() })
}

// Missing is nil: without its files nothing starts.
func (f *folder) Missing() error { return nil }

// Prepare reads what s names and returns what puts it in force. Nothing has changed
// until that is called, and nothing ever if there is an error. The paths may be new.
func (f *folder) Prepare(s Settings) (use func(), err error) {
	pairs, err := loadAll(filesOf(s))
	if err != nil {
		return nil, err
	}
	return func() { f.use(pairs) }, nil
}

// use puts pairs in force. Of files that are in use already the memory goes on of
// what was complained about.
func (f *folder) use(pairs []*pair) {
	f.using.Lock()
	defer f.using.Unlock()
	old := *f.pairs.Load()
	next := make([]*watched, len(pairs))
	for i, p := range pairs {
		next[i] = &watched{log: f.log}
		if at := slices.IndexFunc(old, func(w *watched) bool { return w.inUse.Load().files == p.files }); at >= 0 {
			next[i] = old[at]
		}
		next[i].use(p)
	}
	f.pairs.Store(&next)
}

// watch looks at the files until ctx is done.
func (f *folder) watch(ctx context.Context) {
	defer close(f.ended)
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			for _, w := range *f.pairs.Load() {
				w.look()
			}
		case <-ctx.Done():
			return
		}
	}
}
