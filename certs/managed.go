package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// A managed gets certificates and renews them: those of its scope's names from the
// start, and others on demand. certmagic renews the former by itself, looking at them
// every Environment.Every; the latter are renewed by handshakes that get them, so that
// names which nobody asks for any more cost no orders.
type managed struct {
	env       Environment
	challenge []string // kinds
	authority string   // as the log names it
	store     *store
	cache     *certmagic.Cache
	hot       hot
	steady    *certmagic.Config     // of the scope's names
	demand    *certmagic.Config     // of all others; its OnDemand keeps certmagic from renewing them
	acme      *certmagic.ACMEIssuer // nil with mode internal
	decoy     decoy                 // nil with it
	local     *local                // nil with mode acme
	scope     atomic.Pointer[scope]
	orders    chan struct{} // a token for each order under way
	strange   chan struct{} // and one for each of those that is on demand
	looks     chan struct{} // and for each look at storage for a challenge
	reads     chan struct{} // and for what other instances have renewed
	jobs      flight[error] // for names on demand: orders
	fetches   flight[error] // and what storage has for them

	life    context.Context
	end     context.CancelFunc
	begun   chan struct{}
	begin   sync.Once
	close   sync.Once
	keeping sync.WaitGroup

	mu     sync.Mutex
	keeps  map[string]context.CancelFunc // by name of the scope
	faults map[string]error              // the last of a name of the scope, since it went well
	asked  *simplelru.LRU[string, *asked]
	denied *simplelru.LRU[string, denied]
	lines  *ration // of failures on demand
}

const (
	// maxOrders bounds orders under way, and maxJobs the names on demand that
	// somebody waits for or that are renewed; a handshake for one more fails.
	// Two orders are kept for the scope's own names, whatever strangers ask for.
	maxOrders  = 8
	maxStrange = maxOrders - 2
	maxJobs    = 64
	// maxLooks bounds the looks at storage, at once, for challenges that strangers
	// pretend to check, and maxReads those for what other instances have renewed: where
	// storage hangs, each would hold a thread. More wait; but no challenge does while a
	// thousand names are read from storage that is slow.
	maxLooks = 16
	maxReads = 4
	// maxAsked bounds the certificates on demand in memory. Those of the names that
	// were asked for least recently are read from storage again.
	// maxDenied bounds the names on demand whose failure is remembered.
	maxAsked  = 4096
	maxDenied = 4096
	// loadTime is what the start waits for storage to show what it has.
	loadTime = 2 * time.Second
)

// A scope is what a reload may change.
type scope struct {
	list  []string
	names nameSet
	gate  *gate // nil: nothing on demand
	set   OnDemand
}

// covers reports whether there may be a certificate for name.
func (s *scope) covers(name string) bool {
	return s.names.has(name) || s.gate != nil && s.gate.allows(name) && checkName(name) == ""
}

func startManaged(s Settings, e Environment) (*managed, error) {
	dir, err := s.checkedDir()
	if err != nil {
		return nil, err
	}
	return manage(s, e, newShelf(dir, e.Log), dir)
}

// manage is startManaged with the storage of a test.
func manage(s Settings, e Environment, storage certmagic.Storage, path string) (*managed, error) {
	m := &managed{
		env: e, authority: "local", store: &store{Storage: storage, path: path, log: e.Log, failed: e.Failed},
		orders: make(chan struct{}, maxOrders), strange: make(chan struct{}, maxStrange),
		looks: make(chan struct{}, maxLooks), reads: make(chan struct{}, maxReads),
		jobs: flight[error]{most: maxJobs}, fetches: flight[error]{most: maxJobs}, lines: newRation(),
		hot: hot{changed: make(chan struct{}, 1)}, begun: make(chan struct{}), keeps: map[string]context.CancelFunc{}, faults: map[string]error{},
	}
	m.asked, _ = simplelru.NewLRU(maxAsked, m.forget) // fails only for a size below 1
	m.denied, _ = simplelru.NewLRU[string, denied](maxDenied, nil)
	m.life, m.end = context.WithCancel(context.Background())
	m.scope.Store(m.scopeOf(s, nil))
	if err := m.equip(s); err != nil {
		m.Close()
		return nil, err
	}
	m.staple()
	m.keepAll(m.scope.Load().list)
	m.keeping.Go(m.clearAway)
	return m, nil
}

// staple has OCSP responses stapled to certificates until the end. Those of the local
// authority have no responder.
func (m *managed) staple() {
	var roots *x509.CertPool
	if m.acme != nil {
		roots = m.acme.TrustedRoots
	}
	s := newStapler(&m.hot, m.env.Log, responderClient(roots))
	m.keeping.Go(func() { s.run(m.life) })
}

// equip makes what is certmagic's.
func (m *managed) equip(s Settings) error {
	zap := newZap(m.env.Log)
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: m.configOf, RenewCheckInterval: m.env.Every, Logger: zap,
	})
	// Without any issuer New would take that of certmagic's package globals.
	m.local = &local{store: m.store, path: m.store.path, log: m.env.Log, life: leafLife}
	issuers := []certmagic.Issuer{m.local}
	// Its OCSP is off: it asks the responder without a limit of time, while it loads a
	// certificate and where it renews them all. A stapler does that beside.
	base := certmagic.Config{
		Storage: m.store, Logger: zap, OnEvent: m.event, Issuers: issuers, OCSP: certmagic.OCSPConfig{DisableStapling: true},
	}
	m.steady = certmagic.New(m.cache, base)
	base.OnDemand = &certmagic.OnDemandConfig{DecisionFunc: func(context.Context, string) error { return errNotAllowed }}
	m.demand = certmagic.New(m.cache, base)
	if s.Mode != modeACME {
		return nil
	}
	if err := m.equipACME(s); err != nil {
		return err
	}
	issuers = []certmagic.Issuer{m.acme}
	m.steady.Issuers, m.demand.Issuers = issuers, issuers
	return nil
}

func (m *managed) equipACME(s Settings) (err error) {
	m.authority, m.challenge, m.local = s.directory(), s.Challenges, nil
	if m.decoy, err = newDecoy(); err != nil {
		return err
	}
	m.acme, err = newACME(s, m.steady, m.decoy.Addr(), m.steady.Logger)
	return err
}

// configOf is certmagic's question how to look after c. It holds its cache's lock.
func (m *managed) configOf(c certmagic.Certificate) (*certmagic.Config, error) {
	if names := m.scope.Load().names; slices.ContainsFunc(c.Names, func(n string) bool { _, own := names[n]; return own }) {
		return m.steady, nil
	}
	return m.demand, nil
}

// scopeOf is the scope of s. It has the gate of old, and the verdicts that this knows,
// where nothing about that has changed.
func (m *managed) scopeOf(s Settings, old *scope) *scope {
	list := s.Names()
	next := &scope{list: list, names: newNameSet(list), set: s.OnDemand}
	switch {
	case old != nil && reflect.DeepEqual(old.set, next.set):
		next.gate = old.gate
	case s.OnDemand.On():
		next.gate = newGate(m.life, s.OnDemand, m.env.Failed)
	}
	return next
}

// Begin lets orders begin. It is for when the listeners are there that answer the
// authority's challenges. It may be called again.
func (m *managed) Begin() { m.begin.Do(func() { close(m.begun) }) }

// Close ends everything, and waits for its end, but not for ever where storage hangs.
// It may be called again.
func (m *managed) Close() {
	m.close.Do(func() {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			m.finish()
		}()
		late := time.NewTimer(2 * closeTime)
		defer late.Stop()
		select {
		case <-ended:
		case <-late.C:
			m.env.Log.Error("the storage of certificates does not answer; stopping without it", "storage", m.store.path)
		}
	})
}

func (m *managed) finish() {
	m.mu.Lock()
	m.end() // under the lock, so that keepAll begins nothing any more
	m.mu.Unlock()
	m.keeping.Wait()
	m.fetches.shut()
	m.jobs.shut()
	if m.cache != nil {
		m.cache.Stop()
	}
	m.store.close() // once certmagic's own renewals have given their locks back
	m.decoy.close()
	m.scope.Load().gate.close()
}

func (m *managed) protocols() []string {
	if slices.Contains(m.challenge, challengeALPN) {
		return []string{"acme-tls/1"}
	}
	return nil
}

// Challenge answers r if it asks for the token of a challenge under way, here or at
// an instance that shares the storage; else it does nothing and returns false.
func (m *managed) Challenge(w http.ResponseWriter, r *http.Request) bool {
	if m.acme == nil || !certmagic.LooksLikeHTTPChallenge(r) {
		return false
	}
	host := hostOf(r)
	if host == "" || !m.scope.Load().covers(host) || take(r.Context(), m.looks) != nil {
		return false
	}
	defer give(m.looks)
	return m.acme.HandleHTTPChallenge(w, r)
}

// Serves reports whether there is a certificate for host, or may be one.
func (m *managed) Serves(host string) bool {
	sc := m.scope.Load()
	name := canonical(host)
	if sc.names.has(name) {
		return true
	}
	if sc.gate == nil || checkName(name) != "" {
		return false
	}
	ctx, cancel := context.WithTimeout(m.life, 2*askTime)
	defer cancel()
	return sc.gate.judge(ctx, name) == nil
}

// Certificates are those in memory, but for such on demand as nobody asks for any more:
// they are left to end, which is no cause for alarm.
func (m *managed) Certificates() []Certificate {
	names := slices.Clone(m.scope.Load().list)
	m.mu.Lock()
	for _, n := range m.asked.Keys() {
		if !m.idle(n) {
			names = append(names, n)
		}
	}
	m.mu.Unlock()
	var all []Certificate
	for _, n := range names {
		if c, found := m.hot.exact(n); found {
			all = append(all, Certificate{[]string{n}, c.Leaf.NotAfter})
		}
	}
	return all
}

// Fresh reports whether every name has its certificate, the last try to get or renew
// each went well, and so did the last use of storage.
func (m *managed) Fresh() bool {
	m.mu.Lock()
	faults := len(m.faults)
	m.mu.Unlock()
	return faults == 0 && !m.store.fails() && m.Missing() == nil
}

// Missing names what has no valid certificate, and why; nil is nothing. Names on
// demand are not missed.
func (m *managed) Missing() error {
	const most = 10 // the rest is counted
	var lines []string
	more := 0
	for _, n := range m.scope.Load().list {
		what := m.lacks(n)
		if what == "" {
			continue
		}
		if len(lines) == most {
			more++
			continue
		}
		lines = append(lines, n+": "+what)
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	if len(lines) == 0 {
		return nil
	}
	return errors.New(strings.Join(lines, "; "))
}

// lacks is "" for a name that has a valid certificate.
func (m *managed) lacks(name string) string {
	what := "no certificate yet"
	if c, found := m.hot.exact(name); found {
		if !c.Expired() {
			return ""
		}
		what = "its certificate has expired"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.faults[name]; err != nil {
		what += ": " + err.Error()
	}
	return what
}

// get is the certificate of a handshake. nil without an error makes crypto/tls send
// the alert unrecognized_name.
func (m *managed) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	sc := m.scope.Load()
	name := normal(hello.ServerName)
	if name == "" {
		if m.acme != nil {
			return nil, nil
		}
		name = sc.unnamed(hello.Conn)
	}
	if !sc.covers(name) {
		return nil, nil
	}
	if isChallenge(hello) && len(m.protocols()) > 0 {
		if err := take(contextOf(hello), m.looks); err != nil {
			return nil, err
		}
		defer give(m.looks)
		return m.steady.GetCertificate(hello)
	}
	c, found := m.hot.find(name)
	switch {
	case !sc.names.has(name):
		return m.demanded(hello, name, sc.gate, c, found)
	case !found:
		return nil, fmt.Errorf("there is no certificate for %q yet", name)
	}
	return &c.Certificate, nil
}

// unnamed is the name for a client that gives none, as one that was given an address
// does: the address it came to, else the first of the scope.
func (s *scope) unnamed(c net.Conn) string {
	if c != nil {
		if host, _, err := net.SplitHostPort(c.LocalAddr().String()); err == nil && s.names.has(canonical(host)) {
			return canonical(host)
		}
	}
	return s.list[0]
}
