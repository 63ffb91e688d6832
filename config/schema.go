package config

import (
	"encoding/json"
	"reflect"
)

// object is a piece of the schema. Its keys are written in alphabetical order.
type object = map[string]any

// Patterns of scalars that an editor can check. Any may hold a ${VAR} instead.
const (
	durationPattern = `^(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+)$`
	sizePattern     = `^[0-9]+(B|KB|KiB|MB|MiB|GB|GiB)?$`
	dollarPattern   = `\$`
)

// patterns are of single keys.
var patterns = map[string]string{
	"upstream.url":        `^(wss?|https?)://.`,
	"routes.upstream.url": `^(wss?|https?)://.`,
	"routes.path":         `^/[^?#]*$`,
}

// Schema is a JSON Schema (2020-12) of the file, for editors. It cannot see all
// that Load does, but what it refuses Load refuses too, save for numbers and the
// like written in quotes.
func Schema() []byte {
	c := Default()
	s := sectionSchema(reflect.ValueOf(c), "")
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "sidecar.yaml"
	s["$defs"] = object{
		"duration": object{"anyOf": []any{object{"type": "string", "pattern": durationPattern}, object{"const": 0}}},
		"size":     object{"anyOf": []any{object{"type": "string", "pattern": sizePattern}, object{"type": "integer", "minimum": 0, "maximum": int64(maxSize)}}},
		"variable": object{"type": "string", "pattern": dollarPattern},
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // nothing in it can fail to marshal
	}
	return append(b, '\n')
}

// sectionSchema is the schema of a mapping, or of nothing: a section all of
// whose keys are comments.
func sectionSchema(v reflect.Value, path string) object {
	properties := object{}
	for _, f := range fieldsOf(v.Type()) {
		properties[f.key] = keySchema(v.FieldByIndex(f.index), f, join(path, f.key))
	}
	return object{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
}

func keySchema(v reflect.Value, f field, path string) object {
	top := topName(path)
	about := describe(path)
	if about == "" {
		about = describe(top)
	}
	var s object
	_, isShort := short(f.typ)
	switch {
	case planned(top), path == "routes.limits.header_timeout":
		s = object{"not": object{}}
		about += " " + notHere(top)
	case path == "routes":
		s = object{"type": "array", "items": routeSchema(), "maxItems": maxItems}
	case isShort:
		s = object{"anyOf": []any{leafSchema(v.Field(0), fieldsOf(f.typ)[0], join(path, fieldsOf(f.typ)[0].key)), nonNull(sectionSchema(v, path))}}
	case isSection(f.typ):
		s = sectionSchema(v, path)
	case isList(f.typ):
		one := leafSchema(reflect.New(f.typ.Elem()).Elem(), f, path)
		// What has a default list cannot do without an entry.
		least := min(1, v.Len())
		if top == "session.identity" {
			least = 0 // the id alone, then
		}
		s = object{"anyOf": []any{object{"type": "array", "items": one, "minItems": least, "maxItems": maxItems}, one}}
	default:
		s = leafSchema(v, f, path)
	}
	s["description"] = about
	if d := defaultJSON(v, f); d != nil && s["not"] == nil {
		s["default"] = d
	}
	return s
}

func nonNull(section object) object {
	section["type"] = "object"
	return section
}

func notHere(key string) string {
	if planned(key) {
		return "Not in this version."
	}
	return "A route cannot set it."
}

func routeSchema() object {
	c := Default()
	s := nonNull(sectionSchema(reflect.ValueOf(Route{Path: "/", Sections: c.Sections}), "routes"))
	s["required"] = []string{"upstream"}
	return s
}

// leafSchema is the schema of a scalar.
func leafSchema(v reflect.Value, f field, path string) object {
	var s object
	switch words := words(path, f); {
	case words != nil:
		s = object{"enum": words}
	case v.Type() == durationType:
		s = object{"$ref": "#/$defs/duration"}
	case f.tag.Get("unit") == "bytes" && f.tag.Get("off") != "":
		return anyOf(object{"$ref": "#/$defs/size"}, object{"const": "off"})
	case f.tag.Get("unit") == "bytes":
		s = object{"$ref": "#/$defs/size"}
	case v.Kind() == reflect.Bool:
		s = object{"type": "boolean"}
	case v.Kind() == reflect.Int && f.tag.Get("off") != "":
		return anyOf(object{"type": "integer", "minimum": 0}, object{"const": "off"})
	case v.Kind() == reflect.Int:
		s = object{"type": "integer"}
	case patterns[path] != "":
		s = object{"type": "string", "pattern": patterns[path]}
	default:
		return object{"type": "string"}
	}
	return anyOf(s)
}

// anyOf is one of these or a variable.
func anyOf(these ...object) object {
	var all []any
	for _, o := range these {
		all = append(all, o)
	}
	return object{"anyOf": append(all, object{"$ref": "#/$defs/variable"})}
}

// words are what a key may hold in this version, nil for anything.
func words(path string, f field) []string {
	if topName(path) == "protocols" {
		return inVersion
	}
	return f.enum()
}

// defaultJSON is a leaf's default as it would be in the file, nil for none.
func defaultJSON(v reflect.Value, f field) any {
	switch {
	case isSection(v.Type()):
		return nil
	case isList(v.Type()):
		if v.Len() == 0 {
			return nil
		}
		var all []any
		for i := range v.Len() {
			all = append(all, defaultJSON(v.Index(i), f))
		}
		return all
	case v.Kind() == reflect.Bool:
		return v.Bool()
	case v.Kind() == reflect.Int && !isText(v.Type()) && f.tag.Get("unit") == "" && v.Int() >= 0:
		return v.Int()
	case v.Kind() == reflect.String && v.Len() == 0:
		return nil
	}
	return text(v, f)
}
