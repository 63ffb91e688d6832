package access

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// The words that an Origins may hold beside origins.
const (
	sameOrigin = "same-origin"
	anyOrigin  = "*"
	nullOrigin = "null"
)

// Origins are the origins whose pages may connect. Each is "same-origin", "*",
// "null" or scheme://host[:port] where host may begin with "*.", which stands
// for one or more whole labels; the zero value means same-origin. A list that
// names others must name "same-origin" too where that is wanted.
//
// "null" is the origin of sandboxed frames and local files: of anybody's, so
// it admits nearly as much as "*".
type Origins []string

// Check is the one Origin check of every transport; the error is a *Refusal
// with status 403.
//
// Same-origin compares host and port with those the client asked for, default
// ports filled in, and the scheme only where c knows it: behind a proxy that
// ends TLS and is not in trusted_proxies nobody is locked out. A request
// without Origin is refused if its browser says that another site made it
// (Sec-Fetch-Site: cross-site), else it passes: it is no page's. Two Origin
// headers are refused whatever is configured, since two readers may choose
// differently.
func (o Origins) Check(r *http.Request, c Client) error {
	sent := r.Header["Origin"]
	switch {
	case len(sent) > 1:
		return refuseOrigin("more than one Origin header")
	case slices.Contains(o, anyOrigin):
		return nil
	case len(sent) == 1:
		return o.checkOrigin(sent[0], c)
	case slices.ContainsFunc(r.Header["Sec-Fetch-Site"], isCrossSite):
		return refuseOrigin("a request of another site's page without an origin")
	}
	return nil
}

func (o Origins) checkOrigin(sent string, c Client) error {
	if sent == nullOrigin && slices.Contains(o, nullOrigin) {
		return nil
	}
	page, ok := parseOrigin(sent)
	if ok && (page.isSame(c) && o.allowSame() || o.lists(page)) {
		return nil
	}
	const most = 200 // of a stranger's words in an answer or a log
	return refuseOrigin(fmt.Sprintf("origin %q may not connect", sent[:min(len(sent), most)]))
}

// Names reports whether the one Origin of r is listed or is the same, and does not
// pass only because "*" lets any: to such a page, and no other, an answer may be
// shown that was made with the user's cookies. "null" is not named by being
// listed: it is anybody's.
func (o Origins) Names(r *http.Request, c Client) bool {
	sent := r.Header["Origin"]
	return len(sent) == 1 && sent[0] != nullOrigin && o.checkOrigin(sent[0], c) == nil
}

func refuseOrigin(text string) error {
	return &Refusal{Status: http.StatusForbidden, Reason: "origin", Text: text + " (origins)"}
}

func isCrossSite(site string) bool { return strings.EqualFold(strings.TrimSpace(site), "cross-site") }

func (o Origins) allowSame() bool { return len(o) == 0 || slices.Contains(o, sameOrigin) }

func (o Origins) lists(page origin) bool {
	return slices.ContainsFunc(o, func(entry string) bool {
		listed, wild, fault := parseEntry(entry)
		return fault == "" && listed.matches(page, wild)
	})
}

// Validate reports what is wrong with o, each fault with its remedy.
func (o Origins) Validate() error {
	var faults []error
	for _, entry := range o {
		if isWord(entry) {
			continue
		}
		if _, _, fault := parseEntry(entry); fault != "" {
			faults = append(faults, fmt.Errorf("%q %s", entry, fault))
		}
	}
	return errors.Join(faults...)
}

func isWord(entry string) bool {
	return entry == sameOrigin || entry == anyOrigin || entry == nullOrigin
}

// An origin is a scheme, a host and a port, RFC 6454 section 4, the port
// filled in where the scheme has a default one; "" where it has none.
type origin struct{ scheme, host, port string }

// isSame reports whether the page was loaded from where the client now connects.
func (page origin) isSame(c Client) bool {
	if defaultPort(page.scheme) == "" || c.Scheme != "" && c.Scheme != page.scheme {
		return false
	}
	host, port, ok := splitHost(c.Host)
	if port == "" {
		port = defaultPort(page.scheme)
	}
	return ok && host == page.host && port == page.port
}

// matches reports whether page is the listed origin or, if wild, has its host
// below the listed one.
func (listed origin) matches(page origin, wild bool) bool {
	if listed.scheme != page.scheme || listed.port != page.port {
		return false
	}
	if wild {
		return strings.HasSuffix(page.host, "."+listed.host) // no label of a host is empty
	}
	return listed.host == page.host
}

// parseOrigin reads an Origin header's value strictly: RFC 6454 section 7 knows
// no user, path or anything else after the port.
func parseOrigin(s string) (origin, bool) {
	scheme, rest, found := strings.Cut(s, "://")
	scheme = strings.Map(lower, scheme)
	host, port, ok := splitHost(rest)
	if !found || !ok || !isScheme(scheme) {
		return origin{}, false
	}
	if port == "" {
		port = defaultPort(scheme)
	}
	return origin{scheme, host, port}, true
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}

// isScheme is RFC 3986 section 3.1, for lower case.
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z'
		other := c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.'
		if !letter && (i == 0 || !other) {
			return false
		}
	}
	return s != ""
}
