package config

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func written(t *testing.T, c Config) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWhatIsWrittenLoadsToTheSame(t *testing.T) {
	for _, name := range glob(t, "testdata/good/*.yaml") {
		c, err := parseFile(t, name)
		if err != nil {
			t.Fatal(err)
		}
		text := written(t, c)
		again, err := Parse(c.File, []byte(text))
		if err != nil {
			t.Errorf("%s: %v in what was written:\n%s", name, err, text)
			continue
		}
		if !reflect.DeepEqual(c, again) {
			t.Errorf("%s: loaded  %+v\nwritten and loaded %+v\n%s", name, c, again, text)
		}
	}
}

func TestWrittenSettingsTellAll(t *testing.T) {
	text := written(t, parse(t, "upstream: ws://a\nroutes: [{path: /b, upstream: {url: 'wss://b', ca: 'x$y'}, limits: {connections: off}}]\n"))
	for _, want := range []string{
		"upstream: ws://a\n", "heartbeat:\n  interval: 20s\n  timeout: 10s\n", "  message: 16MiB\n", "level: info\n",
		"  - path: /b\n    upstream:\n      url: wss://b\n      ca: x$$y\n    limits:\n      connections: off\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	for _, not := range []string{"socketio", "sockjs", "body"} {
		if strings.Contains(text, not) {
			t.Errorf("%s is not in this version but in:\n%s", not, text)
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	c := Default()
	c.TLS.EAB.MAC = "s3cret"
	c.TLS.CA = "https://me:s3cret@ca.example.com/dir"
	c.Upstream.URL = "ws://me:s3cret@host"
	c.Upstream.Subprotocol = "ws://me@host" // a user is no secret
	text := written(t, c)
	if strings.Contains(text, "s3cret") || strings.Count(text, mask)+strings.Count(text, "%2A%2A%2A") == 0 {
		t.Errorf("want no secret but masks in:\n%s", text)
	}
	if !strings.Contains(text, "ca.example.com/dir") || !strings.Contains(text, "ws://me@host") {
		t.Errorf("more than the password is gone:\n%s", text)
	}
}
