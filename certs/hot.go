package certs

import (
	"strings"
	"sync"

	"github.com/caddyserver/certmagic"
)

// A hot is what handshakes get, by name. certmagic has its own memory of the same, and
// keeps that locked while it reads from storage which of them to renew: storage that is
// slow then would hold up all handshakes.
type hot struct {
	mu    sync.RWMutex
	certs map[string]certmagic.Certificate // under the name of the scope, or the one asked for
}

// exact is the certificate got for name.
func (h *hot) exact(name string) (certmagic.Certificate, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	c, found := h.certs[name]
	return c, found
}

// find is the certificate for name, be it one for all names beside it.
func (h *hot) find(name string) (certmagic.Certificate, bool) {
	if c, found := h.exact(name); found {
		return c, true
	}
	_, above, found := strings.Cut(name, ".")
	if !found {
		return certmagic.Certificate{}, false
	}
	return h.exact("*." + above)
}

func (h *hot) put(name string, c certmagic.Certificate) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.certs == nil {
		h.certs = map[string]certmagic.Certificate{}
	}
	h.certs[name] = c
}

func (h *hot) drop(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.certs, name)
}
