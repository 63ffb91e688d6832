package config

import (
	"os"
	"reflect"
	"regexp"
	"testing"
)

func example(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("../sidecar.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestExampleLoadsAsItStands(t *testing.T) {
	got, err := Parse("sidecar.yaml", example(t))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.File, want.Upstream.URL = "sidecar.yaml", "ws://127.0.0.1:9000"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// The example's comments show the defaults, and every key of this version.
func TestExampleWithEveryKeyUncommented(t *testing.T) {
	text := regexp.MustCompile(`(?m)^#([a-z]|  )`).ReplaceAll(example(t), []byte("$1"))
	l := newLoader(nil)
	got, err := l.load("sidecar.yaml", text, Source{})
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	if len(got.Routes) != 1 || len(got.TrustedProxies) != 1 {
		t.Errorf("routes %+v, trusted proxies %q; want the one example of each", got.Routes, got.TrustedProxies)
	}
	got.Routes, got.TrustedProxies = nil, nil
	want := Default()
	want.File, want.Upstream.URL = "sidecar.yaml", "ws://127.0.0.1:9000"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, k := range Keys() {
		if _, shown := l.where[k.Name]; !shown && !k.Planned && k.Default != "" {
			t.Errorf("%s is not in the example", k.Name)
		}
	}
}
