package config

import (
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

func (l *loader) fromFlags(flags map[string][]string) {
	for _, k := range Keys() {
		if vals := flags[k.Name]; vals != nil {
			l.fromText(k, vals, origin{rank: fromFlag, name: "--" + k.Name})
		}
	}
}

// fromText decodes what a variable or a flag holds. Nothing in it is expanded:
// the shell has done so.
func (l *loader) fromText(k Key, vals []string, at origin) {
	d := &decoder{loader: l, at: func(*yaml.Node) origin { return at }}
	n, err := textNode(k, vals)
	if err != nil {
		l.fault(at, k.Name, "%s is not YAML: %s", quote(vals[len(vals)-1]), strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	if k.Name == "routes" {
		d.held = n
		l.hold(d)
		return
	}
	f, v := find(reflect.ValueOf(&l.config).Elem(), k.Name)
	d.decode(n, v, f, k.Name)
}

// find is the field that a key names, and its value in the settings v.
func find(v reflect.Value, key string) (field, reflect.Value) {
	first, rest, nested := strings.Cut(key, ".")
	f, _ := lookup(fieldsOf(v.Type()), first)
	v = v.FieldByIndex(f.index)
	if nested {
		return find(v, rest)
	}
	return f, v
}

// textNode reads lists and sections in YAML's flow style, lists with commas, and
// leaves everything else as it is.
func textNode(k Key, vals []string) (*yaml.Node, error) {
	last := vals[len(vals)-1]
	list := isList(k.field.typ)
	switch {
	case (list || k.short) && enclosed(last):
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(last), &doc); err != nil {
			return nil, err
		}
		return doc.Content[0], nil
	case !list:
		return scalarNode(last), nil
	}
	n := &yaml.Node{Kind: yaml.SequenceNode}
	if len(vals) == 1 && !strings.Contains(last, ",") {
		return scalarNode(last), nil
	}
	for _, val := range vals {
		for item := range strings.SplitSeq(val, ",") {
			n.Content = append(n.Content, scalarNode(strings.TrimSpace(item)))
		}
	}
	return n, nil
}

func enclosed(s string) bool {
	s = strings.TrimSpace(s)
	return strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") || strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}")
}

func scalarNode(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.DoubleQuotedStyle}
}
