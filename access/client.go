package access

import (
	"net/http"
	"net/netip"
	"strings"
)

// A Client is who sent a request, as far as we and the proxies we trust know.
type Client struct {
	// Addr is the true address: the rightmost hop that is not a trusted proxy,
	// never with a zone, never IPv4 mapped into IPv6. Where the hops end at a
	// trusted proxy that does not say who asked it, it is that proxy's. It is
	// the zero Addr where nobody knows: a unix socket without a trusted word.
	Addr   netip.Addr
	Scheme string // "http" or "https" as the client used it; "" where neither we nor a trusted proxy know
	Host   string // the host (and port) the client asked for
	// hops are the trusted proxies between Addr and us, nearest last.
	hops []netip.Addr
}

// maxHops bounds the hops looked at in one request. Beyond it the walk ends as
// if the header did: the last hop looked at is the client.
const maxHops = 64

// Client says who sent r.
//
// The address is that of the socket, or what a PROXY header put in its place
// (see Listener). Only if that is trusted, X-Forwarded-For is walked from the
// right, over all its lines, past every trusted address; where there is none,
// Forwarded (RFC 7239). What is no address ends the walk at the last hop known:
// "unknown", an obfuscated "_name", an empty element, rubbish, and the 65th hop.
//
// Scheme and host are believed from a trusted peer only. In Forwarded they are
// those of the chosen hop's element, or of the nearest one to its right that
// has them. Of X-Forwarded-Proto and -Host, the value at the chosen hop's place
// counts if there are as many values as addresses; otherwise the last one,
// which the nearest proxy wrote. With no such word a TLS connection is "https",
// one in clear is unknown, and the host is the request's own.
func (p Proxies) Client(r *http.Request) Client {
	c := Client{Host: r.Host}
	if r.TLS != nil {
		c.Scheme = "https"
	}
	peer, trusted := p.peer(r.RemoteAddr)
	c.Addr = peer
	if trusted {
		p.believe(&c, r.Header)
	}
	return c
}

// believe fills c from the headers of a trusted peer, which is c.Addr.
func (p Proxies) believe(c *Client, h http.Header) {
	var depth, count int
	var said element
	if lines := h["X-Forwarded-For"]; len(lines) > 0 {
		depth, count = p.walkFor(c, lines), countElements(lines)
	} else if lines := h["Forwarded"]; len(lines) > 0 {
		said = p.walkForwarded(c, lines)
	}
	if said.proto == "" {
		said.proto = pick(h["X-Forwarded-Proto"], depth, count)
	}
	if said.host == "" {
		said.host = pick(h["X-Forwarded-Host"], depth, count)
	}
	if scheme := parseScheme(said.proto); scheme != "" {
		c.Scheme = scheme
	}
	if _, _, ok := splitHost(said.host); ok {
		c.Host = said.host
	}
}

// step moves c to the next hop outwards and reports whether to go on from there.
func (p Proxies) step(c *Client, hop string) bool {
	addr, ok := parseHop(hop)
	if !ok {
		return false
	}
	if c.Addr.IsValid() {
		c.hops = append(c.hops, c.Addr)
	}
	c.Addr = addr
	return p.Trusts(addr)
}

// walkFor walks X-Forwarded-For and returns how many elements from the right it
// stopped, 0 for the last one.
func (p Proxies) walkFor(c *Client, lines []string) (depth int) {
	defer c.nearestLast()
	w := walker{lines: lines}
	for i := range maxHops {
		hop, ok := w.next()
		if !ok {
			break
		}
		depth = i
		if !p.step(c, hop) {
			break
		}
	}
	return depth
}

// walkForwarded walks Forwarded and returns the proto and host of the last
// element that a trusted proxy wrote.
func (p Proxies) walkForwarded(c *Client, lines []string) (said element) {
	defer c.nearestLast()
	w := walker{lines: lines, quotes: true}
	for range maxHops {
		text, ok := w.next()
		if !ok {
			break
		}
		e := parseElement(text)
		if e.proto != "" {
			said.proto = e.proto
		}
		if e.host != "" {
			said.host = e.host
		}
		if !p.step(c, e.node) {
			break
		}
	}
	return said
}

// pick chooses one of a list header's values: the one depth elements from the
// right where there are count of them, else the last.
func pick(lines []string, depth, count int) string {
	if len(lines) == 0 {
		return ""
	}
	if countElements(lines) != count {
		depth = 0
	}
	w := walker{lines: lines}
	value, _ := w.next()
	for range depth {
		value, _ = w.next()
	}
	return value
}

// parseScheme knows the WebSocket names too, which some proxies write.
func parseScheme(proto string) string {
	switch strings.ToLower(proto) {
	case "https", "wss":
		return "https"
	case "http", "ws":
		return "http"
	}
	return ""
}
