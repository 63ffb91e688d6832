package certs

import (
	"crypto/sha256"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A watched is a pair of files, and what of them is in use. Only use may be called
// beside look, which is the watcher's.
type watched struct {
	log    *slog.Logger
	stale  atomic.Bool // the files hold what cannot be used
	inUse  atomic.Pointer[pair]
	mu     sync.Mutex // makes one change of inUse at a time
	seen   [sha256.Size]byte
	told   [sha256.Size]byte // what was complained about; the watcher's, as seen is
	warned validity          // what was last logged of the pair in use; guarded by mu
}

// use puts p in force, unless the same is.
func (w *watched) use(p *pair) {
	w.stale.Store(false)
	w.mu.Lock()
	if old := w.inUse.Load(); old == nil || old.sum != p.sum {
		w.inUse.Store(p)
		w.warned = unknown
	}
	w.mu.Unlock()
	w.tellValidity()
}

// look reads the files once. Times and sizes of files are not asked: a clock that
// is too coarse would hide a change, and to read some KiB costs as little.
func (w *watched) look() {
	old := w.inUse.Load()
	text, err := old.files.read()
	now := text.sum()
	if err != nil {
		now = sha256.Sum256([]byte(err.Error()))
	}
	switch {
	case now == old.sum:
		w.told = [sha256.Size]byte{}
		w.stale.Store(false)
	case now != w.seen: // perhaps not written to its end
	case now == w.told:
	case !w.renew(old, text, err):
		w.told = now
	}
	w.seen = now
	w.tellValidity()
}

// renew puts what was read in force, or says why it cannot be and returns false. What
// was put in force a slow reload may replace by what it had read earlier: then it is
// to be renewed again.
func (w *watched) renew(old *pair, text content, err error) bool {
	var p *pair
	if err == nil {
		p, err = parse(old.files, text)
	}
	if err != nil {
		w.stale.Store(true)
		w.log.Error("the new certificate cannot be used; the old one goes on", "err", err, "expires", old.leaf.NotAfter)
		return false
	}
	w.replace(old, p)
	return true
}

// replace is use for what the watcher read: a reload may have read and used newer
// files meanwhile.
func (w *watched) replace(old, p *pair) {
	w.mu.Lock()
	same := w.inUse.Load() == old
	w.mu.Unlock()
	if same {
		w.use(p)
	}
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
func (w *watched) tellValidity() {
	w.mu.Lock()
	p := w.inUse.Load()
	v := p.validity(time.Now())
	known := v == w.warned
	w.warned = v
	w.mu.Unlock()
	if known {
		return
	}
	log := w.log.With("file", p.files.cert, "names", p.names, "from", p.leaf.NotBefore, "expires", p.leaf.NotAfter)
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
