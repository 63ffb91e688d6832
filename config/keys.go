package config

import (
	"reflect"
	"strings"
	"sync"
)

// A Key is one setting as flags, the environment and the documentation name it.
type Key struct {
	// Name is the key's path in the file, "heartbeat.interval"; the flag is
	// --heartbeat.interval.
	Name string
	// Env is its variable, "SIDECAR_HEARTBEAT_INTERVAL".
	Env string
	// Default is how its default would be written, "" where there is none.
	Default string
	// Doc says what it is for.
	Doc string
	// Planned: nothing obeys it in this version, and to set it is a fault.
	Planned bool

	field field
	short bool // it stands for its section, as "upstream" does for "upstream.url"
}

// Keys lists every key that a flag or a variable can set, in the order of the
// documentation.
func Keys() []Key { return keys() }

var keys = sync.OnceValue(func() []Key {
	c := Default()
	return keysOf(reflect.ValueOf(c), "")
})

func keysOf(v reflect.Value, path string) []Key {
	var all []Key
	for _, f := range fieldsOf(v.Type()) {
		name, val := join(path, f.key), v.FieldByIndex(f.index)
		_, isShort := short(f.typ)
		if !isSection(f.typ) || isShort {
			all = append(all, Key{
				Name: name, Env: envName(name), Default: defaultText(val, f), Doc: describe(name),
				Planned: planned(name), field: f, short: isShort,
			})
		}
		if isSection(f.typ) {
			all = append(all, keysOf(val, name)...)
		}
	}
	return all
}

// allNames lists every path of the file, sections too. Of a route there are only
// the keys that the top level does not have.
var allNames = sync.OnceValue(func() []string {
	return append(namesOf(reflect.TypeFor[Config](), ""), "routes.path", "routes.host")
})

func namesOf(t reflect.Type, path string) []string {
	var all []string
	for _, f := range fieldsOf(t) {
		name := join(path, f.key)
		all = append(all, name)
		if isSection(f.typ) {
			all = append(all, namesOf(f.typ, name)...)
		}
	}
	return all
}

func envName(key string) string {
	return "SIDECAR_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// defaultText is the default of a leaf as a flag would give it.
func defaultText(v reflect.Value, f field) string {
	switch {
	case isSection(v.Type()):
		return ""
	case !isList(v.Type()):
		return text(v, f)
	case isSection(v.Type().Elem()):
		return ""
	}
	var items []string
	for i := range v.Len() {
		items = append(items, text(v.Index(i), f))
	}
	return strings.Join(items, ",")
}

// topName is the name that a key of a route has at the top level.
func topName(path string) string {
	rest, ok := strings.CutPrefix(path, "routes.")
	if !ok || rest == "path" || rest == "host" {
		return path
	}
	return rest
}
