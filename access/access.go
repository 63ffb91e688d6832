// Package access decides who may come in: which origins, from which address
// (seen through trusted proxies), and how many.
package access

import (
	"net/http"
	"net/netip"
	"time"
)

// A Client is who sent a request, as far as we and the proxies we trust know.
type Client struct {
	Addr   netip.Addr // the true address: the rightmost hop that is not a trusted proxy
	Scheme string     // "http" or "https" as the client used it; "" where neither we nor a trusted proxy know
	Host   string     // the host (and port) the client asked for
	// hops are the trusted proxies between Addr and us, nearest last.
	hops []netip.Addr
}

// Proxies are the peers whose word on X-Forwarded-*, Forwarded and the PROXY
// protocol is believed. The zero value trusts nobody.
type Proxies struct{}

// ParseProxies reads addresses and CIDR prefixes, IPv4 and IPv6.
func ParseProxies(list []string) (Proxies, error) { panic("not yet") }

// Client says who sent r.
func (p Proxies) Client(r *http.Request) Client { panic("not yet") }

// SetForwarded replaces every forwarding header in h with what we vouch for:
// X-Forwarded-For (the client's true address, then the trusted hops),
// X-Forwarded-Proto and X-Forwarded-Host. Strangers' spellings of them
// (X_Forwarded_For, Forwarded, X-Real-Ip…) are removed. Call it after hop-by-hop
// headers were stripped, or a client could strip ours.
func (c Client) SetForwarded(h http.Header) { panic("not yet") }

// Origins are the origins whose pages may connect. Each is "same-origin", "*",
// "null" or scheme://host[:port] where host may begin with "*."; the zero value means same-origin.
type Origins []string

// Validate reports what is wrong with o.
func (o Origins) Validate() error { panic("not yet") }

// Check is the one Origin check of every transport.
func (o Origins) Check(r *http.Request, c Client) error { panic("not yet") }

// Limits bound how many come in. 0 means the bound that DefaultLimits and
// Derive document; -1 ("off" in the configuration) means none.
type Limits struct {
	Connections         int `yaml:"connections" off:"-1"`
	PerAddress          int `yaml:"per_address" off:"-1"`
	HandshakesPerSecond int `yaml:"handshakes_per_second" off:"-1"`
}

// Validate reports what is wrong with l, each fault as "key: what and remedy".
func (l Limits) Validate() error { panic("not yet") }

// Derive replaces zeros by what sockets many client sockets allow.
func (l Limits) Derive(sockets int) Limits { panic("not yet") }

// A Limiter counts connections (raw ones and sessions, not sockets) and handshakes.
type Limiter struct{}

// NewLimiter makes a Limiter; zeros in l must have been derived.
func NewLimiter(l Limits) *Limiter { panic("not yet") }

// Set replaces the bounds. Who is in stays in.
func (l *Limiter) Set(Limits) { panic("not yet") }

// Admit counts one connection from addr, or returns a *Refusal. release may be
// called more than once and from any goroutine.
func (l *Limiter) Admit(addr netip.Addr) (release func(), err error) { panic("not yet") }

// Len is the number of connections now counted.
func (l *Limiter) Len() int { panic("not yet") }

// A Guard is everything that is asked of a request before a backend is dialled.
type Guard struct {
	Proxies  Proxies
	Origins  Origins
	Limiters []*Limiter // all must admit; the whole program's first, then the route's
}

// Check says who sent r and whether its page may connect; err is a *Refusal.
func (g *Guard) Check(r *http.Request) (Client, error) { panic("not yet") }

// Admit counts a connection of c in every Limiter; err is a *Refusal.
func (g *Guard) Admit(c Client) (release func(), err error) { panic("not yet") }

// A Refusal is an error that a client is told: a status and a sentence that
// names the setting behind it.
type Refusal struct {
	Status     int
	Reason     string        // from a fixed set, for metrics: "origin", "connections", "per_address", "rate"
	Text       string        // for the client; ends in the setting's name in parentheses
	RetryAfter time.Duration // 0: no header
}

func (r *Refusal) Error() string { panic("not yet") }

// ServeHTTP answers with the refusal: status, Retry-After in whole seconds
// (rounded up), text/plain.
func (r *Refusal) ServeHTTP(w http.ResponseWriter, _ *http.Request) { panic("not yet") }
