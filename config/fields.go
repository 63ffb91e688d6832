package config

import (
	"encoding"
	"reflect"
	"strings"
	"time"
)

// A field is one key of a settings struct.
type field struct {
	key   string
	index []int
	typ   reflect.Type
	tag   reflect.StructTag
}

// fieldsOf lists the keys of a settings struct in the order of declaration,
// those of inlined structs among them. A field without a tag is no key.
func fieldsOf(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		f := t.Field(i)
		key, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case key == "" && option == "", key == "-":
		case option == "inline":
			for _, in := range fieldsOf(f.Type) {
				in.index = append([]int{i}, in.index...)
				all = append(all, in)
			}
		default:
			all = append(all, field{key: key, index: []int{i}, typ: f.Type, tag: f.Tag})
		}
	}
	return all
}

// lookup finds the key among a struct's fields.
func lookup(fields []field, key string) (field, bool) {
	for _, f := range fields {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

// short is the field that a scalar given in place of the whole struct fills.
func short(t reflect.Type) (field, bool) {
	if !isSection(t) {
		return field{}, false
	}
	for _, f := range fieldsOf(t) {
		if f.tag.Get("short") == "true" {
			return f, true
		}
	}
	return field{}, false
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// isText reports whether t reads itself, as slog.Level does.
func isText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textType) }

// isSection reports whether t is a mapping of keys in the file.
func isSection(t reflect.Type) bool { return t.Kind() == reflect.Struct && !isText(t) }

// isList reports whether t is a list of scalars or of sections.
func isList(t reflect.Type) bool { return t.Kind() == reflect.Slice && !isText(t) }

// enum lists the words that a field may hold; nil: it may hold any.
func (f field) enum() []string {
	if s := f.tag.Get("enum"); s != "" {
		return strings.Split(s, ",")
	}
	return nil
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
