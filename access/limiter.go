package access

import (
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// maxBuckets bounds the addresses whose handshake rate is remembered. Beyond it
// the one not seen for longest is forgotten, and has a full burst when it comes
// again: no more than an address has that was never seen. Whoever commands that
// many addresses is held by the bound on connections only.
const maxBuckets = 16384

// fullRetry is when a client that found all connections taken should try again.
const fullRetry = 5 * time.Second

// A Limiter counts connections (raw ones and sessions, not sockets) and
// handshakes. Its methods may be called from any goroutine and never block.
type Limiter struct {
	mu      sync.Mutex
	limits  Limits
	total   int
	live    map[netip.Addr]int // by key, only those above 0: never more than total
	buckets *simplelru.LRU[netip.Addr, *rate.Limiter]
}

// NewLimiter makes a Limiter; zeros in l must have been derived (a zero that is
// left means no bound). It needs no closing.
func NewLimiter(l Limits) *Limiter {
	buckets, err := simplelru.NewLRU[netip.Addr, *rate.Limiter](maxBuckets, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &Limiter{limits: l, live: make(map[netip.Addr]int), buckets: buckets}
}

// Set replaces the bounds. Who is in stays in, and is counted against the new
// ones; an address keeps what it has used of its handshake rate, unless the rate
// is off.
func (l *Limiter) Set(limits Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits = limits
	if limits.HandshakesPerSecond <= 0 {
		l.buckets.Purge()
	}
}

// Admit counts one connection from addr, or returns a *Refusal. release may be
// called more than once and from any goroutine. The zero Addr, a client whose
// address nobody knows, counts towards the total only: all those clients as one
// would shut each other out.
func (l *Limiter) Admit(addr netip.Addr) (release func(), err error) {
	key := keyOf(addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	if refusal := l.refusal(key); refusal != nil {
		return nil, refusal
	}
	l.total++
	if key.IsValid() {
		l.live[key]++
	}
	a := &admission{limiter: l, key: key}
	return a.release, nil
}

// refusal is why a connection from key may not come in. The rate is asked last:
// who is refused otherwise has not used any of it.
func (l *Limiter) refusal(key netip.Addr) *Refusal {
	switch bounds := l.limits; {
	case bounds.Connections > 0 && l.total >= bounds.Connections:
		return Full("too many connections (limits.connections)")
	case !key.IsValid():
		return nil
	case bounds.PerAddress > 0 && l.live[key] >= bounds.PerAddress:
		return &Refusal{http.StatusTooManyRequests, "per_address", "too many connections from your address (limits.per_address)", 0}
	case bounds.HandshakesPerSecond > 0 && !l.bucket(key).Allow():
		again := time.Second / time.Duration(bounds.HandshakesPerSecond)
		return &Refusal{http.StatusTooManyRequests, "rate", "too many handshakes from your address (limits.handshakes_per_second)", again}
	}
	return nil
}

// Full refuses one connection more than there may be, for a reason in text.
func Full(text string) *Refusal {
	return &Refusal{http.StatusServiceUnavailable, "connections", text, fullRetry}
}

// bucket is key's token bucket, with the present rate and burst.
func (l *Limiter) bucket(key netip.Addr) *rate.Limiter {
	perSecond, burst := rate.Limit(l.limits.HandshakesPerSecond), l.limits.bursts()
	b, ok := l.buckets.Get(key)
	if !ok {
		b = rate.NewLimiter(perSecond, burst)
		l.buckets.Add(key, b)
	}
	if b.Limit() != perSecond {
		b.SetLimit(perSecond)
	}
	if b.Burst() != burst {
		b.SetBurst(burst)
	}
	return b
}

// Len is the number of connections now counted.
func (l *Limiter) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// An admission is one counted connection. It lives as long as that, so it is small.
type admission struct {
	limiter *Limiter
	key     netip.Addr
	over    atomic.Bool
}

func (a *admission) release() {
	if a.over.Swap(true) {
		return
	}
	l := a.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if !a.key.IsValid() {
		return
	}
	if l.live[a.key]--; l.live[a.key] == 0 {
		delete(l.live, a.key)
	}
}

// keyOf is what addresses are counted by: IPv4 whole, IPv6 by its /64, the
// least that one customer is given (RFC 6177).
func keyOf(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr
	}
	return netip.PrefixFrom(addr, 64).Masked().Addr()
}
