package config

import (
	"fmt"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxValues bounds what one source decodes to, an alias counted each time it is
// used, so that aliases of aliases cannot make a small file a large configuration.
const maxValues = 100_000

// maxItems bounds one list: checks that compare its entries take that squared.
const maxItems = 1000

// A decoder reads one source into settings, strictly, and goes on after a fault.
type decoder struct {
	*loader
	// at says where a node stands.
	at func(*yaml.Node) origin
	// env, where it is not nil, expands variables in scalars.
	env func(string) (string, bool)
	// held gets the node of "routes", which can be decoded only once everything
	// that routes inherit is known.
	held   *yaml.Node
	values int
}

// decode reads n into v. It does not follow a cycle of aliases for ever, since
// the depth is that of the settings' types and values are counted.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, f field, path string) {
	if d.values++; d.values > maxValues {
		if !d.flooded {
			d.fault(d.at(n), "", "holds more than %d values, each use of an alias counted", maxValues)
		}
		d.flooded = true
		return
	}
	at := d.at(n)
	d.where[path] = at
	n, ok := d.resolve(n, path)
	switch {
	case !ok:
	case isSection(v.Type()):
		d.section(n, v, path, at)
	case isList(v.Type()):
		d.list(n, v, f, path, at)
	default:
		d.scalar(n, v, f, path, at)
	}
}

// resolve is the node that n, perhaps an alias, stands for; not ok if it has a tag.
func (d *decoder) resolve(n *yaml.Node, path string) (*yaml.Node, bool) {
	at := d.at(n)
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.fault(at, path, "has the tag %s, which is not supported; remove it", quote(n.Tag))
		return n, false
	}
	return n, true
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, f field, path string, at origin) {
	if n.Kind != yaml.ScalarNode {
		d.fault(at, path, "must be a single value, not %s", kind(n))
		return
	}
	if n.ShortTag() == "!!null" {
		d.fault(at, path, "%s", noValue(n))
		return
	}
	s := n.Value
	if d.env != nil {
		var err error
		if s, err = expand(s, d.env); err != nil {
			d.fault(at, path, "%s %v", wrote(f, n.Value), err)
			return
		}
	}
	if err := set(v, f, s); err != nil {
		d.fault(at, path, "%s %v", wrote(f, s), err)
	}
}

// wrote quotes a value in a fault, unless it is a secret.
func wrote(f field, s string) string {
	if f.tag.Get("secret") == "true" {
		return "the value"
	}
	return quote(redact(s))
}

// noValue tells an empty value from the word null, which may be meant as a word.
func noValue(n *yaml.Node) string {
	if n.Value == "" {
		return "has no value; give it one or remove the key"
	}
	return fmt.Sprintf("%s is no value in YAML; quote it if the word is meant, or remove the key", n.Value)
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, f field, path string, at origin) {
	d.forget(path)
	d.single[path] = n.Kind == yaml.ScalarNode
	items := n.Content
	switch {
	case n.Kind == yaml.MappingNode:
		d.fault(at, path, "must be a list, not a mapping")
		return
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		d.fault(at, path, "%s", noValue(n))
		return
	case n.Kind == yaml.ScalarNode:
		items = []*yaml.Node{n}
	}
	if len(items) > maxItems {
		d.fault(at, path, "has %d entries; at most %d", len(items), maxItems)
		return
	}
	// Never into the old array: routes share theirs with what they inherit from.
	v.SetZero()
	for i, item := range items {
		e := reflect.New(v.Type().Elem()).Elem()
		d.decode(item, e, f, fmt.Sprintf("%s[%d]", path, i))
		v.Set(reflect.Append(v, e))
	}
}

// forget drops the places of the elements of a list that is replaced.
func (l *loader) forget(path string) {
	if _, replaced := l.where[path+"[0]"]; !replaced {
		return
	}
	for p := range l.where {
		if strings.HasPrefix(p, path+"[") {
			delete(l.where, p)
		}
	}
}

func (d *decoder) section(n *yaml.Node, v reflect.Value, path string, at origin) {
	fill, isShort := short(v.Type())
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && !isShort:
		return // all of its keys are comments
	case n.Kind == yaml.ScalarNode && isShort:
		if n.ShortTag() == "!!null" {
			d.fault(at, path, "%s", noValue(n))
			return
		}
		p := join(path, fill.key)
		d.where[p] = at
		d.scalar(n, v.FieldByIndex(fill.index), fill, p, at)
		return
	case n.Kind != yaml.MappingNode:
		d.fault(at, path, "must be a mapping of keys to values, not %s", kind(n))
		return
	}
	d.mapping(n, v, path)
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	fields := fieldsOf(v.Type())
	seen := map[string]origin{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		at := d.at(k)
		if k.Kind != yaml.ScalarNode {
			d.fault(at, path, "has a key that is not plain text")
			continue
		}
		if first, twice := seen[k.Value]; twice {
			d.fault(at, join(path, k.Value), "is given twice, first at line %d", first.line)
			continue
		}
		seen[k.Value] = at
		f, ok := lookup(fields, k.Value)
		switch {
		case k.ShortTag() == "!!merge":
			d.fault(at, join(path, k.Value), "merge keys are not supported; routes inherit every section that they do not set")
		case !ok:
			d.fault(at, strings.TrimPrefix(path+"."+show(k.Value), "."), "%s", unknown(path, k.Value, fields))
		case path == "" && f.key == "routes":
			d.held = val
		default:
			d.decode(val, v.FieldByIndex(f.index), f, join(path, f.key))
		}
	}
}

func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	return "a single value"
}
