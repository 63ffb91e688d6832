package config

import (
	"bytes"
	"os"
	"reflect"
	"testing"
)

// FuzzLoad: no file may panic or say more than is bounded, and what loads must
// be the same once written and loaded again.
func FuzzLoad(f *testing.F) {
	for _, dir := range []string{"testdata/good", "testdata/bad"} {
		files, err := os.ReadDir(dir)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(dir + "/" + file.Name())
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := newLoader(testEnv).load("sidecar.yaml", text, Source{})
		if err != nil {
			if n := len(err.Error()); n > maxFaults*4096 {
				t.Errorf("faults of %d bytes", n)
			}
			return
		}
		var b bytes.Buffer
		if err := c.Write(&b); err != nil {
			t.Fatalf("writing %+v: %v", c, err)
		}
		again, err := Parse("sidecar.yaml", b.Bytes())
		if err != nil {
			t.Fatalf("loading what was written: %v\n%s", err, b.Bytes())
		}
		if !reflect.DeepEqual(c, again) {
			t.Errorf("loaded %+v\nagain  %+v\n%s", c, again, b.Bytes())
		}
	})
}

// FuzzFlags does the same for text from variables and flags.
func FuzzFlags(f *testing.F) {
	f.Add("listen", ":8080,:8081")
	f.Add("upstream", "{url: 'wss://a', ca: b}")
	f.Add("routes", "[{path: /a, upstream: 'ws://a', origins: ['*']}]")
	f.Add("limits.message", "16MiB")
	f.Add("origins", "[\"null\"]")
	f.Fuzz(func(t *testing.T, key, value string) {
		src := Source{flags: map[string][]string{key: {value}}}
		c, err := newLoader(nil).load("", []byte("upstream: wss://127.0.0.1:9000"), src)
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := c.Write(&b); err != nil {
			t.Fatalf("writing %+v: %v", c, err)
		}
		again, err := Parse("", b.Bytes())
		if err != nil {
			t.Fatalf("loading what was written: %v\n%s", err, b.Bytes())
		}
		if !reflect.DeepEqual(c, again) && key != "tls.eab.mac" {
			t.Errorf("loaded %+v\nagain  %+v\n%s", c, again, b.Bytes())
		}
	})
}
