package certs

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// A hot is what handshakes get, by name. certmagic has its own memory of the same, and
// keeps that locked while it reads from storage which of them to renew: storage that is
// slow then would hold up all handshakes.
type hot struct {
	mu      sync.RWMutex
	certs   map[string]certmagic.Certificate // under the name of the scope, or the one asked for
	staples map[string]*staple               // of those that have a responder
	changed chan struct{}                    // has one when there may be something to staple; nil: nothing is
}

// exact is the certificate got for name. A response that is over is left out, though
// the stapler has not seen that yet: after a machine has slept it may be a minute late.
func (h *hot) exact(name string) (certmagic.Certificate, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	c, found := h.certs[name]
	if st := h.staples[name]; st == nil || !time.Now().Before(st.end) {
		c.OCSPStaple = nil
	}
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

// put has c served for name. The same one that is there keeps its OCSP response; with
// another, what is under way for the old one ends.
func (h *hot) put(name string, c certmagic.Certificate) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.certs == nil {
		h.certs, h.staples = map[string]certmagic.Certificate{}, map[string]*staple{}
	}
	if old := h.certs[name]; slices.EqualFunc(old.Certificate.Certificate, c.Certificate.Certificate, bytes.Equal) {
		c.OCSPStaple = old.OCSPStaple
	} else if delete(h.staples, name); h.changed != nil {
		if st := newStaple(&c.Certificate); st != nil {
			h.staples[name] = st
			h.wake()
		}
	}
	h.certs[name] = c
}

// attach staples text, which is over at end, to name's certificate; nil takes what is
// there away. It is for who has the lock. Handshakes have copies, which stay as they are.
func (h *hot) attach(name string, st *staple, text []byte, end time.Time) {
	c := h.certs[name]
	c.OCSPStaple, st.end = text, end
	h.certs[name] = c
}

// wake has the stapler look.
func (h *hot) wake() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

func (h *hot) drop(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.certs, name)
	delete(h.staples, name)
}
