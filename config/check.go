package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

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
	for key, v := range map[string]any{"session_memory": c.SessionMemory, "drain": c.Drain, "ops": c.Ops, "log": c.Log} {
		l.validate(reflect.ValueOf(v), key)
	}
	l.checkTLS()
	l.checkRoutes()
	l.checkSpoken()
	l.checkSessions()
}

func (l *loader) checkTLS() {
	c := &l.config.TLS
	if !slices.Contains([]string{"off", "files", "acme", "internal"}, c.Mode) {
		return // which decoding has reported
	}
	l.validate(reflect.ValueOf(*c), "tls")
	if c.Redirects() {
		l.checkOwnListen("tls.http", c.HTTP)
	}
	_, set := l.where["tls.on_demand"]
	_, allow := l.where["tls.on_demand.allow"]
	_, ask := l.where["tls.on_demand.ask"]
	if set && !allow && !ask {
		l.report("tls.on_demand", "needs allow, ask or both: with neither any stranger could have certificates ordered")
	}
	// A default in the place of ca would let everybody in where somebody means to ask.
	_, asks := l.where["tls.client_auth.mode"]
	if _, ca := l.where["tls.client_auth.ca"]; asks && !ca && c.Mode != "off" && c.ClientAuth.Mode == "require" {
		l.report("tls.client_auth.mode", "require needs ca, the PEM file of the roots of clients' certificates: without it nobody is asked")
	}
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

// checkOrigins demands a word: an empty list would mean same-origin to the
// program and nobody to its reader.
func (l *loader) checkOrigins(o access.Origins, path string) {
	if len(o) == 0 {
		l.report(path, "names none; write same-origin, or * for any")
	}
}
