package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("sidecar.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("sidecar.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// instance is the file as an editor's validator sees it.
func instance(text []byte) (any, error) {
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(b))
}

func TestSchemaAcceptsWhatLoads(t *testing.T) {
	s := compiled(t)
	for _, name := range append(glob(t, "testdata/good/*.yaml"), "../sidecar.yaml") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		v, err := instance(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// unseen are the bad files whose faults no schema can see, or that no parser
// hands to one.
var unseen = []string{
	"alias-cycle", "colon", "control", "duplicate-key", "empty", "grammar-first-line", "latin1", "merge-key", "message",
	"ops", "ops-off", "ops-port", "ops-word", "origins", "proxies", "proxy-protocol", "root-tag", "syntax", "tab", "tag", "tls", "tls-files", "tls-http", "tls-http-listen", "tls-http-ops", "tls-clients-no-ca", "tls-clients-off", "tls-on-demand", "tls-pairs", "two-documents", "unknown-anchor",
	"unspoken", "upstream-none", "variables", "window",
}

func TestSchemaRefusesWhatItCanSee(t *testing.T) {
	s := compiled(t)
	for _, name := range glob(t, "testdata/bad/*.yaml") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		v, err := instance(b)
		if err == nil {
			err = s.Validate(v)
		} else {
			err = nil // not the schema's
		}
		short := strings.TrimSuffix(filepath.Base(name), ".yaml")
		var refused *jsonschema.ValidationError
		if got, want := errors.As(err, &refused), !slices.Contains(unseen, short); got != want {
			t.Errorf("%s: refused %v, want %v: %v", short, got, want, err)
		}
	}
}

// Each of these files is wrong in one way that the schema must see by itself.
func TestSchemaOfEachKind(t *testing.T) {
	s := compiled(t)
	for _, text := range []string{
		"{upstream: 'ws://a', x: 1}", "{heartbeat: {interval: fast}}", "{heartbeat: {interval: 10}}", "{limits: {message: 1XB}}",
		"{limits: {connections: -1}}", "{limits: {connections: many}}", "{proxy_protocol: maybe}", "{log: {level: loud}}",
		"{tls: {mode: maybe}}", "{protocols: [sockjs]}", "{sockjs: {heartbeat: 25s}}", "{limits: {body: 1MB}}", "{session_memory: {evict: maybe}}", "{session_memory: {limit: -1}}", "{session_memory: {limit: never}}", "{upstream: 'ftp://a'}",
		"{routes: [{path: /a}]}", "{routes: [{path: a, upstream: 'ws://a'}]}", "{routes: [{upstream: 'ws://a', limits: {header_timeout: 1s}}]}",
		"{routes: [{upstream: 'ws://a', listen: ':1'}]}", "{routes: {}}", "{protocols: []}", "{origins: []}",
	} {
		v, err := instance([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if err := s.Validate(v); err == nil {
			t.Errorf("%s passes", text)
		}
		if !strings.HasPrefix(text, "{upstream") {
			text = strings.Replace(text, "{", "{upstream: 'ws://a', ", 1)
		}
		if _, err := Parse("x", []byte(text)); err == nil {
			t.Errorf("%s loads", text)
		}
	}
}

// The schema knows every key of the structs, with description and default.
func TestSchemaAgreesWithTheStructs(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	for _, name := range allNames() {
		o := schema
		for part := range strings.SplitSeq(name, ".") {
			o = inside(o, part)
		}
		if o == nil {
			if !planned(name) {
				t.Errorf("%s is not in the schema", name)
			}
			continue
		}
		if d, _ := o["description"].(string); !strings.HasPrefix(d, describe(name)) {
			t.Errorf("%s is described as %q", name, d)
		}
	}
	if got, want := inside(inside(schema, "heartbeat"), "interval")["default"], "20s"; got != want {
		t.Errorf("heartbeat.interval is by default %v; want %v", got, want)
	}
}

// inside is the schema of a key of o, which may be a list's or one of several forms.
func inside(o map[string]any, key string) map[string]any {
	if items, ok := o["items"].(map[string]any); ok {
		o = items
	}
	forms, _ := o["anyOf"].([]any)
	for _, form := range append(forms, o) {
		if p, ok := form.(map[string]any)["properties"].(map[string]any); ok {
			found, _ := p[key].(map[string]any)
			return found
		}
	}
	return nil
}
