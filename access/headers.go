package access

import (
	"net/http"
	"slices"
	"strings"
)

// SetForwarded replaces every forwarding header in h with what we vouch for:
// X-Forwarded-For (the client's true address, then the trusted hops; left out
// where no address is known), X-Forwarded-Proto ("http" where the scheme is
// unknown, since then the client came to us in clear) and X-Forwarded-Host.
// Strangers' spellings of them (X_Forwarded_For, Forwarded, X-Real-Ip…) are
// removed, and all other X-Forwarded-* with them. Call it after hop-by-hop
// headers were stripped, or a client could strip ours.
func (c Client) SetForwarded(h http.Header) {
	for name := range h {
		if IsForwarding(name) {
			delete(h, name)
		}
	}
	for name, value := range c.Forwarded {
		h[name] = []string{value}
	}
}

// Forwarded yields the headers that SetForwarded sets, names in canonical form,
// for who writes a head without making a copy of it first.
func (c Client) Forwarded(yield func(name, value string) bool) {
	if c.Addr.IsValid() && !yield("X-Forwarded-For", c.path()) {
		return
	}
	if c.Host != "" && !yield("X-Forwarded-Host", c.Host) {
		return
	}
	proto := c.Scheme
	if proto == "" {
		proto = "http"
	}
	yield("X-Forwarded-Proto", proto)
}

// path lists the client and the trusted hops, nearest last.
func (c Client) path() string {
	if len(c.hops) == 0 {
		return c.Addr.String()
	}
	var b strings.Builder
	b.WriteString(c.Addr.String())
	for _, hop := range c.hops {
		b.WriteString(", ")
		b.WriteString(hop.String())
	}
	return b.String()
}

// nearestLast turns the hops around: the walk meets the nearest first.
func (c *Client) nearestLast() { slices.Reverse(c.hops) }

// IsForwarding knows the forwarding headers in every spelling that a backend
// may take for them: CGI and its heirs read X_Forwarded_For, and some
// X.Forwarded.For, as X-Forwarded-For.
func IsForwarding(name string) bool {
	if name == "" || name[0]|0x20 != 'x' && name[0]|0x20 != 'f' {
		return false // most are not: no need to spell them out
	}
	plain := strings.Map(plainByte, name)
	return plain == "forwarded" || plain == "x-real-ip" || plain == "x-forwarded" ||
		strings.HasPrefix(plain, "x-forwarded-")
}

// plainByte lowers letters and makes all but letters and digits a hyphen.
func plainByte(r rune) rune {
	if r = lower(r); r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
		return r
	}
	return '-'
}
