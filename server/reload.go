package server

import (
	"fmt"
	"reflect"
	"strings"

	"sidecar/config"
)

// Reload puts c in force for connections that open from now on. A c that cannot
// be put in force changes nothing. What only a restart can change is named in
// one warning, and goes on as it was. Tell ReloadFailed of an error.
func (s *Server) Reload(c config.Config) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	useCerts, err := s.prepareCerts(c)
	if err != nil {
		return fmt.Errorf("reloading: %w", err)
	}
	useClients, err := s.prepareClients(c)
	if err != nil {
		return fmt.Errorf("reloading: %w", err)
	}
	p, err := s.plan(c, s.inForce.Load())
	if err != nil {
		return fmt.Errorf("reloading: %w", err)
	}
	s.enforce(p)
	useCerts()
	useClients()
	s.metrics.Reloaded(true)
	s.log.Info("reloaded", "file", c.File, "routes", routesOf(c))
	if keys := needRestart(s.boot, c); len(keys) > 0 {
		s.log.Warn("some of the new settings need a restart", "keys", strings.Join(keys, ", "))
	}
	return nil
}

// ReloadFailed counts a new configuration that could not be read or put in
// force, and logs each of its faults.
func (s *Server) ReloadFailed(err error) {
	s.metrics.Reloaded(false)
	for line := range strings.SplitSeq(err.Error(), "\n") {
		s.log.Error("not reloaded; the old configuration goes on", "fault", line)
	}
}

// needRestart names the keys that differ and that live in a listener, which is
// not made anew.
func needRestart(boot, c config.Config) []string {
	var keys []string
	for _, k := range []struct {
		key      string
		old, new any
	}{
		{"listen", boot.Listen, c.Listen},
		{"proxy_protocol", boot.ProxyProtocol, c.ProxyProtocol},
		{"tls.mode", boot.TLS.Mode, c.TLS.Mode},
		{"tls.http", boot.TLS.HTTP, c.TLS.HTTP},
		{"tls.loop", boot.TLS.Loop, c.TLS.Loop},
		{"tls.email", boot.TLS.Email, c.TLS.Email},
		{"tls.ca", boot.TLS.CA, c.TLS.CA},
		{"tls.ca_roots", boot.TLS.CARoots, c.TLS.CARoots},
		{"tls.storage", boot.TLS.Storage, c.TLS.Storage},
		{"tls.challenges", boot.TLS.Challenges, c.TLS.Challenges},
		{"tls.eab", boot.TLS.EAB, c.TLS.EAB},
		{"limits.header_timeout", boot.Limits.HeaderTimeout, c.Limits.HeaderTimeout},
		{"ops.listen", boot.Ops.Listen, c.Ops.Listen},
		{"log.format", boot.Log.Format, c.Log.Format},
	} {
		if !reflect.DeepEqual(k.old, k.new) {
			keys = append(keys, k.key)
		}
	}
	// Who may send a PROXY header was told to the listener; whose forwarding
	// headers are believed changes at once.
	if boot.ProxyProtocol && !reflect.DeepEqual(boot.TrustedProxies, c.TrustedProxies) {
		keys = append(keys, "trusted_proxies (for proxy_protocol)")
	}
	if old, now := longestWrite(boot), longestWrite(c); boot.TLS.On() && old != now {
		keys = append(keys, "limits.write_timeout (for HTTP/2)")
	}
	return keys
}
