package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"sidecar/access"
	"sidecar/admin"
	"sidecar/certs"
	"sidecar/config"
	"sidecar/proxy"
)

// A plan is a configuration made ready. It is swapped as a whole; a request
// keeps the one it began with.
type plan struct {
	config   config.Config
	table    table
	proxies  access.Proxies
	backends []*proxy.Backend
	checks   []admin.Check
	own      map[string]ownLimits // by route name, where they differ from the program's
	refs     atomic.Int64         // requests under way, and one while it is in force
}

// ownLimits bound one route. The Limiter outlives a reload, and who is counted
// in it; its bounds change only once the plan is in force.
type ownLimits struct {
	limiter *access.Limiter
	bounds  access.Limits
}

// plan makes c ready, or says everything that keeps it from being so. Nothing
// that is in force is touched. old is the plan to take limiters over from.
func (s *Server) plan(c config.Config, old *plan) (*plan, error) {
	proxies, err := access.ParseProxies(c.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("trusted_proxies: %w", err)
	}
	p := &plan{config: c, proxies: proxies, own: map[string]ownLimits{}}
	p.refs.Store(1)
	var sites []*site
	var faults []error
	for _, r := range c.AllRoutes() {
		site, err := s.site(p, old, r)
		if err != nil {
			faults = append(faults, fmt.Errorf("route %q: %w", r.Name(), err))
			continue
		}
		sites = append(sites, site)
	}
	if err := errors.Join(faults...); err != nil {
		p.closeBackends()
		return nil, err
	}
	p.table = newTable(sites)
	return p, nil
}

// Check opens what c names, as New does, and tells every fault: for who wants to
// know beforehand whether a start or a reload would go well.
func Check(c config.Config) error {
	faults := []error{certs.Check(c.TLS), certs.CheckClients(c.TLS.ClientAuth)}
	for _, r := range c.AllRoutes() {
		backend, err := proxy.NewBackend(r.Upstream, r.Path)
		if err != nil {
			faults = append(faults, fmt.Errorf("route %s: %w", r.Name(), err))
			continue
		}
		backend.Close()
	}
	return errors.Join(faults...)
}

func (s *Server) site(p, old *plan, r config.Route) (*site, error) {
	backend, err := proxy.NewBackend(r.Upstream, r.Path)
	if err != nil {
		return nil, err
	}
	p.backends = append(p.backends, backend)
	p.checks = append(p.checks, admin.Check{
		Name: "upstream of " + r.Name(),
		Ask:  admin.Cached(time.Second, time.Second, backend.Check),
	})
	limits, observer := r.Limits.Proxy, s.metrics.Route(r.Name())
	dialer := func(live *proxy.Live) *proxy.Dialer {
		return &proxy.Dialer{
			Route: r.Name(), Backend: backend, Heartbeat: r.Heartbeat, Limits: limits, Live: live, Observer: observer, Log: s.log, Loops: s.loops,
		}
	}
	guard := access.Guard{Proxies: p.proxies, Origins: r.Origins, Limiters: s.limiters(p, old, r), Room: s.upstreams.room}
	site := &site{
		name: r.Name(), host: r.Host, path: r.Path, replaces: backend.Replaces(),
		socket: slices.Contains(r.Protocols, "websocket"), upgrade: limits.DialTimeout + limits.WriteTimeout,
		raw: &proxy.Raw{
			Route: r.Name(), Backend: backend, Heartbeat: r.Heartbeat, Limits: limits, Guard: &guard,
			Live: &s.live, Loops: s.loops, PlainTLS: !s.boot.TLS.Loop, Observer: observer, Log: s.log,
		},
		engineIO: s.engineIO(r, guard, dialer(&s.live)),
	}
	if slices.Contains(r.Protocols, "resume") {
		site.resume = s.resume(r, guard, dialer(&s.resumed))
	}
	if slices.Contains(r.Protocols, "http") {
		site.plain = &proxy.HTTP{Route: r.Name(), Backend: backend, Proxies: p.proxies, Limits: limits, Log: s.log}
	}
	return site, nil
}

// limiters are those that must admit a connection on r: the program's, and the
// route's own if its bounds are not the program's.
func (s *Server) limiters(p, old *plan, r config.Route) []*access.Limiter {
	if r.Limits.Access == p.config.Limits.Access {
		return []*access.Limiter{s.limiter}
	}
	own := ownLimits{bounds: r.Limits.Access.Derive(s.budget.sockets)}
	if old != nil {
		own.limiter = old.own[r.Name()].limiter
	}
	if own.limiter == nil {
		own.limiter = access.NewLimiter(own.bounds)
	}
	p.own[r.Name()] = own
	return []*access.Limiter{s.limiter, own.limiter}
}

// enforce puts p in the place of what was in force.
func (s *Server) enforce(p *plan) {
	bounds := p.config.Limits.Access.Derive(s.budget.sockets)
	s.limiter.Set(bounds)
	for _, own := range p.own {
		own.limiter.Set(own.bounds)
	}
	s.sessions.Set(p.config.SessionMemory)
	s.level.Set(p.config.Log.Level)
	s.metrics.Limit("connections", bounds.Connections)
	s.metrics.Limit("per_address", bounds.PerAddress)
	s.metrics.Limit("handshakes_per_second", bounds.HandshakesPerSecond)
	if old := s.inForce.Swap(p); old != nil {
		old.closeBackends() // what idles now
		old.release()
	}
}

// acquire is the plan in force, to be released after the request. A plan that
// lost its last reference between the two loads is not taken: its successor is
// there already.
func (s *Server) acquire() *plan {
	for {
		p := s.inForce.Load()
		for n := p.refs.Load(); n > 0; n = p.refs.Load() {
			if p.refs.CompareAndSwap(n, n+1) {
				return p
			}
		}
	}
}

// release closes the backends with the last request, which may have left
// another idle connection behind.
func (p *plan) release() {
	if p.refs.Add(-1) == 0 {
		p.closeBackends()
	}
}

func (p *plan) closeBackends() {
	for _, b := range p.backends {
		b.Close()
	}
}

// conditions are what readiness asks.
func (s *Server) conditions() []admin.Check {
	list := []admin.Check{{Name: "serving", Ask: s.serving}}
	if s.certs != nil {
		list = append(list, admin.Check{Name: "certificates", Ask: s.certified})
	}
	if p := s.inForce.Load(); p.config.Ops.CheckUpstream {
		list = append(list, p.checks...)
	}
	return list
}

func (s *Server) serving(context.Context) error {
	switch {
	case s.draining.Load():
		return errors.New("the program is stopping")
	case !s.started.Load():
		return errors.New("the program is starting")
	}
	return nil
}
