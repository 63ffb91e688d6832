package config

import (
	"fmt"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// decodeRoutes reads each route over a copy of what it inherits.
func (l *loader) decodeRoutes() {
	if l.routes == nil {
		return
	}
	d, at := l.routes, l.where["routes"]
	n, ok := d.resolve(l.routes.held, "routes")
	switch {
	case !ok:
		return
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		l.fault(at, "routes", "%s", noValue(n))
		return
	case n.Kind != yaml.SequenceNode:
		l.fault(at, "routes", "must be a list of routes, not %s", kind(n))
		return
	case len(n.Content) > maxItems:
		l.fault(at, "routes", "has %d entries; at most %d", len(n.Content), maxItems)
		return
	}
	for i, item := range n.Content {
		r := Route{Path: "/", Sections: l.config.Sections}
		d.decode(item, reflect.ValueOf(&r).Elem(), field{}, "routes["+strconv.Itoa(i)+"]")
		l.config.Routes = append(l.config.Routes, r)
	}
}

// AllRoutes are the routes, inherited sections filled in, with Upstream as the
// last, catch-all one where it is set.
func (c *Config) AllRoutes() []Route {
	routes := slices.Clone(c.Routes)
	if !c.Upstream.IsZero() {
		routes = append(routes, Route{Path: "/", Upstream: c.Upstream, Sections: c.Sections})
	}
	return routes
}

// checkRoutes looks at each route and at what they are together.
func (l *loader) checkRoutes() {
	c := &l.config
	taken := map[string]string{}
	for i := range c.Routes {
		r, key := &c.Routes[i], fmt.Sprintf("routes[%d]", i)
		l.checkRoute(r, key)
		name := strings.ToLower(strings.Trim(r.Host, "[]")) + strings.TrimSuffix(r.Path, "/")
		if first, twice := taken[name]; twice {
			l.report(key, fmt.Sprintf("has the host and path of %s; each may be given once", first))
			continue
		}
		taken[name] = key
	}
	if first, twice := taken[""]; twice && !c.Upstream.IsZero() {
		l.report("upstream", "takes what no route does, but "+first+" takes everything; remove one of them")
	}
	l.checkUpstream()
}

func (l *loader) checkRoute(r *Route, key string) {
	if text := pathFault(r.Path); text != "" {
		l.report(key+".path", quote(r.Path)+" "+text)
	}
	if text := hostFault(r.Host); text != "" {
		l.report(key+".host", quote(r.Host)+" "+text)
	}
	if at, ok := l.where[key+".limits.header_timeout"]; ok {
		l.fault(at, key+".limits.header_timeout", "belongs to the listener and cannot differ between routes; set it at the top level")
	}
	if _, set := l.where[key+".upstream"]; !set && !l.failed[key] {
		l.report(key, "has no upstream; name its backend, as in upstream: ws://127.0.0.1:9000")
	} else {
		l.validate(reflect.ValueOf(r.Upstream), key+".upstream")
	}
	// What it only inherits was judged at the top level.
	v := reflect.ValueOf(r.Sections)
	for _, f := range fieldsOf(v.Type()) {
		if _, own := l.where[join(key, f.key)]; own {
			l.validate(v.FieldByIndex(f.index), join(key, f.key))
		}
	}
	if _, own := l.where[key+".protocols"]; own {
		l.checkProtocols(r.Protocols, key+".protocols")
	}
	if _, own := l.where[key+".origins"]; own {
		l.checkOrigins(r.Origins, key+".origins")
	}
}

func (l *loader) checkUpstream() {
	u := l.config.Upstream
	_, set := l.where["upstream"]
	if at := l.where["upstream.url"]; u.Socket != "" && l.where["upstream.socket"].rank < at.rank {
		l.report("upstream.socket", fmt.Sprintf("%s would take the place of the host in %v; remove one of them", quote(u.Socket), at))
	}
	switch {
	case !u.IsZero(), set && len(l.config.Routes) == 0:
		l.validate(reflect.ValueOf(u), "upstream")
	case len(l.config.Routes) == 0 && !l.broken && !l.failed["routes"]:
		l.report("upstream", "none is set; name the backend, as in --upstream ws://127.0.0.1:9000")
	}
}

// pathFault says what keeps p from being compared, letter by letter, with the
// path of a request as clients send it, escapes and all.
func pathFault(p string) string {
	plain, err := url.PathUnescape(p)
	sent := (&url.URL{Path: plain}).EscapedPath()
	switch {
	case !strings.HasPrefix(p, "/"):
		return "must begin with /"
	case strings.ContainsAny(p, "?#"):
		return "must be a path alone, without ? and #"
	case strings.Contains(p, "//"):
		return "has an empty segment; write a single /"
	case slices.ContainsFunc(strings.Split(plain, "/"), func(s string) bool { return s == "." || s == ".." }):
		return "has a dot segment; write the path that it leads to"
	case err != nil:
		return "has a percent-escape that is none"
	case strings.Count(plain, "/") != strings.Count(p, "/"):
		return "has an escaped slash, which backends read differently; choose another prefix"
	case strings.ContainsFunc(plain, unicode.IsControl) || !utf8.ValidString(plain):
		return "has a letter that is none"
	case sent != p:
		return fmt.Sprintf("is not as clients send it; write %q", sent)
	}
	return ""
}

func hostFault(h string) string {
	switch {
	case h == "":
		return ""
	case strings.ContainsAny(h, "*"):
		return "has a wildcard, which routes do not know; leave host out to take any"
	case strings.HasSuffix(h, "."):
		return "must have no dot at its end; hosts are compared without"
	case strings.Contains(h, "://") || strings.ContainsAny(h, "/ \t@?#"):
		return "must be a host name alone, such as chat.example.com"
	case strings.ContainsFunc(h, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "must be in ASCII, as clients send it; write the name as xn--…"
	case net.ParseIP(strings.Trim(h, "[]")) == nil && strings.Contains(h, ":"):
		return "must have no port; hosts are compared without"
	}
	return ""
}
