package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// unknown says what may have been meant by a key that is none here: one of its
// neighbours, or a key that belongs elsewhere.
func unknown(path, key string, fields []field) string {
	var here []string
	top := strings.TrimSuffix(inRoute.ReplaceAllString(path+".", ""), ".")
	for _, f := range fields {
		if !planned(join(top, f.key)) {
			here = append(here, f.key)
		}
	}
	var there []string
	for _, name := range allNames() {
		if name == key {
			return elsewhere(path, key)
		}
		if strings.HasSuffix(name, "."+key) && !planned(name) && !slices.Contains(here, key) {
			there = append(there, name)
		}
	}
	switch best := nearest(key, here); {
	case best != "":
		return fmt.Sprintf("is no key; did you mean %s?", best)
	case len(there) > 0:
		return fmt.Sprintf("is no key here; did you mean %s?", either(there))
	case len(here) <= 10:
		return "is no key; here are " + strings.Join(here, ", ")
	}
	return "is no key"
}

// show is a stranger's key as it stands, or quoted where it is no plain word.
func show(key string) string {
	if quoted := quote(key); quoted != `"`+key+`"` || key == "" || strings.ContainsAny(key, " .:") {
		return quoted
	}
	return key
}

// elsewhere is what to say of a key that is the name of one at the top level.
func elsewhere(path, name string) string {
	section, leaf, nested := cutLast(name)
	_, ofRoute := lookup(fieldsOf(reflect.TypeFor[Route]()), name)
	switch {
	case nested:
		return fmt.Sprintf("is no key; in the file %s is a key within %s", leaf, section)
	case !strings.HasPrefix(path, "routes["):
		return "is no key here; it belongs to the top level"
	case ofRoute:
		return "is no key here; it belongs to the route"
	}
	return "cannot differ between routes; it belongs to the top level"
}

func cutLast(name string) (before, after string, found bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}
