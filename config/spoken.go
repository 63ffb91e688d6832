package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"sidecar/proxy"
)

// withSessions are the protocols of this version whose clients have a session.
var withSessions = []string{"resume", "engineio"}

// obeyedBy are the sections that only some protocols look at.
var obeyedBy = []struct {
	section   string
	protocols []string
}{
	{"session", withSessions},
	{"resume", []string{"resume"}},
	{"engineio", []string{"engineio"}},
}

// checkSpoken finds settings that no protocol looks at: whoever wrote them believes
// that they do something. Those that are what they would be anyway are let pass.
func (l *loader) checkSpoken() {
	c, base := &l.config, Default()
	routes := c.AllRoutes()
	if len(routes) == 0 {
		return // which is a fault of its own
	}
	anywhere := func(protocols []string) bool {
		return slices.ContainsFunc(routes, func(r Route) bool { return speaks(r.Protocols, protocols) })
	}
	for _, o := range obeyedBy {
		if !anywhere(o.protocols) {
			l.reportIdle(o.section, c.Sections, base.Sections, "no route speaks "+either(o.protocols))
		}
	}
	if !anywhere(withSessions) {
		l.reportIdle("session_memory", *c, base, "no route speaks "+either(withSessions))
	}
	l.checkSubprotocol("upstream", c.Upstream.Subprotocol, c.Protocols)
	for i, r := range c.Routes {
		key := fmt.Sprintf("routes[%d]", i)
		for _, o := range obeyedBy {
			if !speaks(r.Protocols, o.protocols) {
				l.reportIdle(key+"."+o.section, r.Sections, c.Sections, "this route does not speak "+either(o.protocols))
			}
		}
		l.checkSubprotocol(key+".upstream", r.Upstream.Subprotocol, r.Protocols)
	}
}

// speaks reports whether list has one of protocols. A list with a word that is none
// was reported, and may have meant it.
func speaks(list, protocols []string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		return slices.Contains(protocols, p) || !slices.Contains(inVersion, p)
	})
}

// reportIdle reports what differs between the two of a section, whose key ends path.
func (l *loader) reportIdle(path string, set, base any, why string) {
	_, key, nested := cutLast(path)
	if !nested {
		key = path
	}
	f, _ := lookup(fieldsOf(reflect.TypeOf(set)), key)
	mine, other := reflect.ValueOf(set).FieldByIndex(f.index), reflect.ValueOf(base).FieldByIndex(f.index)
	for _, f := range fieldsOf(f.typ) {
		if !reflect.DeepEqual(mine.FieldByIndex(f.index).Interface(), other.FieldByIndex(f.index).Interface()) {
			l.report(join(path, f.key), "has no effect, for "+why+" (protocols)")
		}
	}
}

func (l *loader) checkSubprotocol(path, subprotocol string, protocols []string) {
	if subprotocol != "" && !speaks(protocols, withSessions) {
		l.report(path+".subprotocol", fmt.Sprintf("%s has no effect, for its clients do not speak %s (protocols)", quote(subprotocol), either(withSessions)))
	}
}

// checkSessions looks at the settings of sessions and their protocols that Validate
// of one section cannot judge alone.
func (l *loader) checkSessions() {
	c := &l.config
	l.checkWindow(c.Sections, "")
	l.checkProtocolPath(c.EngineIO.Path, "engineio.path")
	if !c.Upstream.IsZero() {
		l.checkMessage(c.Sections, "")
		l.checkReached(Route{Path: "/", Upstream: c.Upstream, Sections: c.Sections}, "", -1)
	}
	for i, r := range c.Routes {
		key := fmt.Sprintf("routes[%d]", i)
		l.checkWindow(r.Sections, key)
		l.checkMessage(r.Sections, key)
		l.checkProtocolPath(r.EngineIO.Path, key+".engineio.path")
		l.checkReached(r, key, i)
	}
}

func (l *loader) checkWindow(s Sections, path string) {
	m := l.config.SessionMemory
	if most := m.Limit; most > 0 && m.Validate() == nil && s.Session.Window > most {
		l.report(join(path, "session.window"), fmt.Sprintf("%s is more than all sessions together may hold, %s (session_memory.limit)",
			sizeText(s.Session.Window), sizeText(most)))
	}
}

// checkMessage finds messages of resume that are allowed and could never pass: what
// clients send is held until it is whole. The fault is of whichever was chosen.
func (l *loader) checkMessage(s Sections, path string) {
	m, message := l.config.SessionMemory, s.Limits.Proxy.Message
	if message == 0 {
		message = proxy.DefaultLimits().Message
	}
	if m.Limit <= 0 || m.Validate() != nil || message <= m.Limit || !slices.Contains(s.Protocols, "resume") {
		return
	}
	for _, key := range []string{join(path, "limits.message"), "limits.message"} {
		if _, set := l.where[key]; set {
			l.report(key, fmt.Sprintf("%s is more than all sessions together may hold, %s (session_memory.limit), so that such a message could never pass by resume",
				sizeText(message), sizeText(m.Limit)))
			return
		}
	}
	l.report("session_memory.limit", fmt.Sprintf("%s is less than one message may have, %s (limits.message), so that such a message could never pass by resume",
		sizeText(m.Limit), sizeText(message)))
}

// checkProtocolPath judges what is appended to a route's path. That it begins with a
// slash was asked by the protocol.
func (l *loader) checkProtocolPath(p, key string) {
	if text := pathFault(p); text != "" && strings.HasPrefix(p, "/") {
		l.report(key, quote(p)+" "+text)
	}
}

// checkReached finds protocols of a route that no request would reach. index is the
// route's place, -1 for upstream's own.
func (l *loader) checkReached(r Route, path string, index int) {
	if !slices.Contains(r.Protocols, "engineio") {
		return
	}
	key := join(path, "engineio.path")
	if r.EngineIO.Path == "/" && len(r.Protocols) > 1 {
		l.report(key, quote(r.EngineIO.Path)+" takes every path of the route, so that its other protocols are never reached")
		return
	}
	own := strings.TrimSuffix(r.Path, "/")
	for i, other := range l.config.Routes {
		taken := strings.TrimSuffix(other.Path, "/")
		if i == index || !strings.EqualFold(r.Host, other.Host) || len(taken) <= len(own) {
			continue
		}
		if strings.HasPrefix(strings.TrimSuffix(own+r.EngineIO.Path, "/")+"/", taken+"/") {
			l.report(key, fmt.Sprintf("%s is never reached: routes[%d] takes %s", quote(own+r.EngineIO.Path), i, other.Path))
		}
	}
}
