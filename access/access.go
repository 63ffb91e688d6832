// Package access decides who may come in: which origins, from which address
// (seen through trusted proxies), and how many.
//
// A Guard asks all of it of a request before any backend is dialled; a Refusal
// is the answer that the client is told. Listener reads the PROXY protocol, so
// that an address may also come from a load balancer that speaks no HTTP.
package access

import (
	"net/http"
)

// A Guard is everything that is asked of a request before a backend is dialled.
// The zero Guard trusts no proxy, lets pages of the same origin in, and counts
// nothing. Its fields must not change while it is in use; a reload makes a new
// Guard around the same Limiters.
type Guard struct {
	Proxies  Proxies
	Origins  Origins
	Limiters []*Limiter // all must admit; the whole program's first, then the route's
	// Room is asked before the Limiters whether there is room at all for one more;
	// err is a *Refusal. Nil: always.
	Room func() error
}

// Check says who sent r and whether its page may connect; err is a *Refusal.
// The Client is right in either case.
func (g *Guard) Check(r *http.Request) (Client, error) {
	c := g.Proxies.Client(r)
	return c, g.Origins.Check(r, c)
}

// Admit counts a connection of c in every Limiter; err is a *Refusal. When one
// refuses, those before it forget the connection again; the handshake that they
// took from their rate stays taken. release may be called more than once and
// from any goroutine.
func (g *Guard) Admit(c Client) (release func(), err error) {
	release = func() {}
	if g.Room != nil {
		if err := g.Room(); err != nil {
			return nil, err
		}
	}
	for i, l := range g.Limiters {
		next, err := l.Admit(c.Addr)
		if err != nil {
			release()
			return nil, err
		}
		if i == 0 {
			release = next
			continue
		}
		first := release
		release = func() { next(); first() }
	}
	return release, nil
}
