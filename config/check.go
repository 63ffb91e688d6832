package config

import (
	"fmt"
	"net"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"sidecar/access"
)

// check finds what can be seen only when all is read.
func (l *loader) check() {
	c := &l.config
	l.checkPlanned()
	l.validate(reflect.ValueOf(c.Sections), "")
	l.checkProtocols(c.Protocols, "protocols")
	l.checkOrigins(c.Origins, "origins")
	l.checkListen()
	l.checkProxies()
	for key, v := range map[string]any{"drain": c.Drain, "ops": c.Ops, "log": c.Log} {
		l.validate(reflect.ValueOf(v), key)
	}
	if c.TLS.Mode != "off" {
		l.report("tls.mode", fmt.Sprintf("%q is not in this version of sidecar; it has: off", c.TLS.Mode))
	} else {
		l.validate(reflect.ValueOf(c.TLS), "tls")
	}
	l.checkRoutes()
}

// validate asks the settings themselves, section by section.
func (l *loader) validate(v reflect.Value, path string) {
	if check, ok := v.Interface().(interface{ Validate() error }); ok {
		l.reportAll(v, path, check.Validate)
		return
	}
	if v.Kind() != reflect.Struct {
		return
	}
	for _, f := range fieldsOf(v.Type()) {
		if isSection(f.typ) || isList(f.typ) {
			l.validate(v.FieldByIndex(f.index), join(path, f.key))
		}
	}
}

// reportAll reports each fault that check joins. Lists are asked element by
// element, so that the fault has the place of one.
func (l *loader) reportAll(v reflect.Value, path string, check func() error) {
	if v.Kind() == reflect.Slice {
		for i := range v.Len() {
			one := v.Slice3(i, i+1, i+1).Interface().(interface{ Validate() error })
			for _, err := range leaves(one.Validate()) {
				l.report(fmt.Sprintf("%s[%d]", path, i), err.Error())
			}
		}
		return
	}
	for _, err := range leaves(check()) {
		key, text := splitKey(v.Type(), err.Error())
		l.report(join(path, key), text)
	}
}

// leaves are the errors that err joins.
func leaves(err error) []error {
	if err == nil {
		return nil
	}
	many, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range many.Unwrap() {
		all = append(all, leaves(e)...)
	}
	return all
}

var keyPrefix = regexp.MustCompile(`^([a-z_]+)((?:\.[a-z_]+|\[\d+\])*): `)

// splitKey takes the key off a fault of a section, "" where it begins with none.
func splitKey(t reflect.Type, s string) (key, text string) {
	if m := keyPrefix.FindStringSubmatch(s); m != nil {
		if _, ok := lookup(fieldsOf(t), m[1]); ok {
			return m[1] + m[2], s[len(m[0]):]
		}
	}
	return "", s
}

// report adds a fault of a value, unless the value was not read anyway, or a
// route only inherited it and the top level has the same fault.
func (l *loader) report(key, text string) {
	for k := key; k != ""; k = parent(k) {
		if l.failed[k] {
			return
		}
	}
	_, own := l.where[key]
	if top := inRoute.ReplaceAllString(key, ""); !own && l.told[top+": "+text] {
		return
	}
	l.told[key+": "+text] = true
	l.add(l.place(key), key, text)
}

// place is where a key was set, or else the section that it is in.
func (l *loader) place(key string) origin {
	for k := key; k != ""; k = parent(k) {
		if at, ok := l.where[k]; ok {
			return at
		}
	}
	return origin{}
}

// parent is the key of what holds key: of the list for an element.
func parent(key string) string {
	return key[:max(0, strings.LastIndexAny(key, ".["))]
}

// inVersion are the protocols that there are; later are those still to come.
var (
	inVersion = []string{"websocket", "http"}
	later     = []string{"resume", "engineio", "socketio", "sockjs"}
)

func (l *loader) checkProtocols(list []string, path string) {
	if len(list) == 0 {
		l.report(path, "names none; this version of sidecar has: "+strings.Join(inVersion, ", "))
	}
	for i, p := range list {
		key := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case slices.Contains(list[:i], p):
			l.report(key, quote(p)+" is given twice")
		case slices.Contains(later, p):
			l.report(key, fmt.Sprintf("%q is not in this version of sidecar; it has: %s", p, strings.Join(inVersion, ", ")))
		case !slices.Contains(inVersion, p):
			l.report(key, quote(p)+" is no protocol; this version of sidecar has: "+strings.Join(inVersion, ", ")+didYouMean(p, inVersion))
		}
	}
}

// checkOrigins demands a word: an empty list would mean same-origin to the
// program and nobody to its reader.
func (l *loader) checkOrigins(o access.Origins, path string) {
	if len(o) == 0 {
		l.report(path, "names none; write same-origin, or * for any")
	}
}

// plannedKeys are sections and keys that nothing obeys in this version. Who sets
// one would believe that it does something.
var plannedKeys = []string{"session", "resume", "engineio", "socketio", "sockjs", "limits.body"}

// planned reports whether key, "routes[i]." left out, is or is in one of plannedKeys.
func planned(key string) bool {
	return slices.ContainsFunc(plannedKeys, func(p string) bool {
		return key == p || strings.HasPrefix(key, p+".")
	})
}

func (l *loader) checkPlanned() {
	for key, at := range l.where {
		_, held := l.where[parent(key)]
		top := inRoute.ReplaceAllString(key, "")
		if planned(top) && !strings.Contains(top, "[") && !(held && planned(inRoute.ReplaceAllString(parent(key), ""))) {
			l.fault(at, key, "is not in this version of sidecar; remove it")
		}
	}
}

var inRoute = regexp.MustCompile(`^routes\[\d+\]\.`)

func (l *loader) checkListen() {
	c := &l.config
	if len(c.Listen) == 0 {
		l.report("listen", `names none; write host:port, such as ":8080", or unix:/path`)
	}
	for i, s := range c.Listen {
		key := fmt.Sprintf("listen[%d]", i)
		if text := listenFault(s); text != "" {
			l.report(key, quote(s)+" "+text)
		}
		if slices.Contains(c.Listen[:i], s) && !strings.HasSuffix(s, ":0") {
			l.report(key, quote(s)+" is given twice")
		}
	}
	if at := c.Ops.Listen; slices.Contains(c.Listen, at) && !strings.HasSuffix(at, ":0") {
		l.report("ops.listen", quote(at)+" is where clients come in too; give it a port of its own")
	}
}

// maxSocketPath is what fits into sockaddr_un with its closing zero.
const maxSocketPath = 107

// listenFault says what is wrong with an address to listen at, "" for nothing.
func listenFault(s string) string {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		switch {
		case !strings.HasPrefix(path, "/"):
			return "must name a socket by its full path, unix:/path"
		case len(path) > maxSocketPath:
			return fmt.Sprintf("names a path of %d bytes; a socket's may have %d", len(path), maxSocketPath)
		}
		return ""
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if _, err := strconv.ParseUint(s, 10, 16); err == nil {
			return fmt.Sprintf("is no host:port; write %q", ":"+s)
		}
		return "is neither host:port nor unix:/path"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "needs a port from 0 to 65535"
	}
	if strings.ContainsAny(host, "/ \t") {
		return "has a host that is no name or address"
	}
	return ""
}

func (l *loader) checkProxies() {
	for i, p := range l.config.TrustedProxies {
		if _, err := access.ParseProxies([]string{p}); err != nil {
			l.report(fmt.Sprintf("trusted_proxies[%d]", i), err.Error())
		}
	}
	if l.config.ProxyProtocol && len(l.config.TrustedProxies) == 0 {
		l.report("proxy_protocol", "true needs trusted_proxies; nobody else's header would be believed")
	}
}

// checkRoutes looks at each route and at what they are together.
func (l *loader) checkRoutes() {
	c := &l.config
	taken := map[string]string{}
	for i := range c.Routes {
		r, key := &c.Routes[i], fmt.Sprintf("routes[%d]", i)
		l.checkRoute(r, key)
		name := strings.ToLower(r.Host) + strings.TrimSuffix(r.Path, "/")
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

// pathFault says what keeps p from being compared, letter by letter, with the
// decoded path of a request.
func pathFault(p string) string {
	switch {
	case !strings.HasPrefix(p, "/"):
		return "must begin with /"
	case strings.ContainsAny(p, "?#"):
		return "must be a path alone, without ? and #"
	case strings.Contains(p, "//"):
		return "has an empty segment; write a single /"
	case slices.ContainsFunc(strings.Split(p, "/"), func(s string) bool { return s == "." || s == ".." }):
		return "has a dot segment; write the path that it leads to"
	case strings.Contains(p, "%"):
		return "has a percent-escape; write the letter itself, since requests are decoded before they are compared"
	case strings.ContainsFunc(p, unicode.IsControl):
		return "has a control character"
	}
	return ""
}

func hostFault(h string) string {
	switch {
	case h == "":
		return ""
	case strings.ContainsAny(h, "*"):
		return "has a wildcard, which routes do not know; leave host out to take any"
	case strings.Contains(h, "://") || strings.ContainsAny(h, "/ \t@?#"):
		return "must be a host name alone, such as chat.example.com"
	case net.ParseIP(strings.Trim(h, "[]")) == nil && strings.Contains(h, ":"):
		return "must have no port; hosts are compared without"
	}
	return ""
}
