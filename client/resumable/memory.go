package resumable

import (
	"sync"
	"time"
)

const (
	blockedFor  = 30 * time.Minute // that WebSocket is blocked is remembered for so long
	probeEvery  = time.Minute      // and it is still tried so often
	killedSoon  = 10 * time.Second // a WebSocket lost within this of its WELCOME was killed
	killedTimes = 3                // so many in a row count as blocked
	maxHosts    = 256              // bounds a Memory
)

// A Memory is what was learnt of the way to each host: where WebSockets are blocked, an
// opening begins by HTTP (§11.2). It forgets all when it has 256 hosts. The zero value
// is ready, and many goroutines may share it.
type Memory struct {
	mu    sync.Mutex
	hosts map[string]*host
}

type host struct {
	killed  int       // WebSockets in a row
	blocked time.Time // when WebSocket was found blocked while HTTP worked
	mute    time.Time // when streams were held back while polls worked
}

// at calls f with what is known of a host.
func (m *Memory) at(name string, f func(h *host)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.hosts[name]
	if h == nil {
		if m.hosts == nil || len(m.hosts) >= maxHosts {
			m.hosts = map[string]*host{}
		}
		h = &host{}
		m.hosts[name] = h
	}
	f(h)
}

// known says which transports do not work.
func (m *Memory) known(name string, now time.Time) (noWebSocket, noStream bool) {
	m.at(name, func(h *host) {
		noWebSocket = h.killed >= killedTimes || !h.blocked.IsZero() && now.Sub(h.blocked) < blockedFor
		noStream = !h.mute.IsZero() && now.Sub(h.mute) < blockedFor
	})
	return noWebSocket, noStream
}

// lost: a WebSocket that was welcomed was lost at that age. enough says that so many
// were killed that they count as blocked.
func (m *Memory) lost(name string, age time.Duration) (enough bool) {
	m.at(name, func(h *host) {
		if h.killed++; age >= killedSoon {
			*h = host{mute: h.mute}
		}
		enough = h.killed >= killedTimes
	})
	return enough
}

// lives: a WebSocket is so old that nobody kills it.
func (m *Memory) lives(name string) {
	m.at(name, func(h *host) { *h = host{mute: h.mute} })
}

// block: HTTP works, and WebSocket does not.
func (m *Memory) block(name string, now time.Time) {
	m.at(name, func(h *host) { h.blocked = now })
}

// mute: polls work, and streams are held back.
func (m *Memory) mute(name string, now time.Time) {
	m.at(name, func(h *host) { h.mute = now })
}
