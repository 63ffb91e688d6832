package config

import (
	"io"
	"net/url"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

// mask stands for a secret in what Write prints.
const mask = "********"

// Write prints the settings in force as a file that loads to the same Config,
// but for secrets, which are masked. Keys that this version does not obey are
// left out, and so is what a route inherits.
func (c Config) Write(w io.Writer) error {
	root := node(reflect.ValueOf(c), reflect.Value{}, "")
	root.Content = append(root.Content, c.routesNode()...)
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(root); err != nil {
		return err
	}
	return e.Close()
}

// node writes a section, less the leaves that base, where it is valid, has too.
func node(v, base reflect.Value, path string) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(v.Type()) {
		name := join(path, f.key)
		if planned(name) {
			continue
		}
		var b reflect.Value
		if base.IsValid() {
			b = base.FieldByIndex(f.index)
		}
		if n := valueNode(v.FieldByIndex(f.index), b, f, name); n != nil {
			m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.key}, n)
		}
	}
	return m
}

// valueNode is nil for what need not be written.
func valueNode(v, base reflect.Value, f field, path string) *yaml.Node {
	_, isShort := short(f.typ)
	switch {
	case base.IsValid() && reflect.DeepEqual(v.Interface(), base.Interface()):
		return nil
	case isShort:
		return shortNode(v)
	case isSection(f.typ):
		return node(v, base, path)
	case path == "routes":
		return nil // written by routesNode
	case isList(f.typ):
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for i := range v.Len() {
			n.Content = append(n.Content, leaf(v.Index(i), f))
		}
		return n
	}
	return leaf(v, f)
}

// shortNode writes a section as the scalar that is short for it where no other
// of its keys is set, nothing where none is, and else only those that are.
func shortNode(v reflect.Value) *yaml.Node {
	fill, _ := short(v.Type())
	m := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(v.Type()) {
		if val := v.FieldByIndex(f.index); !val.IsZero() {
			m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.key}, leaf(val, f))
		}
	}
	switch {
	case v.IsZero():
		return nil
	case len(m.Content) == 2 && m.Content[0].Value == fill.key:
		return m.Content[1]
	}
	return m
}

// routesNode is the key routes and its value: each route less what it inherits.
func (c Config) routesNode() []*yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, r := range c.Routes {
		inherited := c.Sections
		inherited.Limits.HeaderTimeout = r.Limits.HeaderTimeout
		base := reflect.ValueOf(Route{Sections: inherited})
		list.Content = append(list.Content, node(reflect.ValueOf(r), base, ""))
	}
	if len(list.Content) == 0 {
		return nil
	}
	return []*yaml.Node{{Kind: yaml.ScalarNode, Value: "routes"}, list}
}

func leaf(v reflect.Value, f field) *yaml.Node {
	s := text(v, f)
	n := &yaml.Node{Kind: yaml.ScalarNode}
	if v.Kind() == reflect.String {
		n.Tag = "!!str" // the encoder quotes what would read as something else
		s = redact(s)
		if f.tag.Get("secret") == "true" && s != "" {
			s = mask
		}
		s = strings.ReplaceAll(s, "$", "$$")
	}
	n.Value = s
	return n
}

// redact masks the password of a URL.
func redact(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		return s
	}
	if _, has := u.User.Password(); !has {
		return s
	}
	u.User = url.UserPassword(u.User.Username(), mask)
	return u.String()
}
