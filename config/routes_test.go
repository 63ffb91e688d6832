package config

import (
	"strings"
	"testing"
	"time"
)

func parse(t *testing.T, text string) Config {
	t.Helper()
	c, err := Parse("sidecar.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRoutesInheritKeyByKey(t *testing.T) {
	c := parse(t, `
routes:
  - path: /a
    host: A.example.com
    upstream: ws://a
    heartbeat: {timeout: 2s}
    limits: {message: 1KiB}
  - upstream: ws://b
    origins: ["*"]
heartbeat: {interval: 7s}
limits: {per_address: 9}
origins: [https://example.com, same-origin]
`)
	routes := c.AllRoutes()
	if len(routes) != 2 {
		t.Fatalf("%d routes; want 2", len(routes))
	}
	a, b := routes[0], routes[1]
	if a.Name() != "A.example.com/a" || b.Name() != "/" {
		t.Errorf("names %q and %q", a.Name(), b.Name())
	}
	if a.Heartbeat.Interval != 7*time.Second || a.Heartbeat.Timeout != 2*time.Second {
		t.Errorf("heartbeat %+v; want the interval inherited, the timeout its own", a.Heartbeat)
	}
	if a.Limits.Access.PerAddress != 9 || a.Limits.Proxy.Message != 1024 || a.Limits.Proxy.DialTimeout != 5*time.Second {
		t.Errorf("limits %+v", a.Limits)
	}
	if len(a.Origins) != 2 || len(b.Origins) != 1 || b.Origins[0] != "*" || c.Origins[0] != "https://example.com" {
		t.Errorf("origins: a %q, b %q, top %q; an override must not reach the others", a.Origins, b.Origins, c.Origins)
	}
	if b.Heartbeat.Timeout != 10*time.Second {
		t.Errorf("b inherited %v from a; want the default 10s", b.Heartbeat.Timeout)
	}
}

func TestUpstreamIsTheLastRoute(t *testing.T) {
	c := parse(t, "upstream: ws://all\nheartbeat: {interval: 7s}\nroutes: [{path: /a, upstream: 'ws://a'}]\n")
	routes := c.AllRoutes()
	if len(routes) != 2 || routes[1].Path != "/" || routes[1].Host != "" || routes[1].Upstream.URL != "ws://all" || routes[1].Heartbeat.Interval != 7*time.Second {
		t.Errorf("routes %+v; want the upstream as the last, with the top level's sections", routes)
	}
	if len(c.Routes) != 1 {
		t.Errorf("AllRoutes changed the Config: %+v", c.Routes)
	}
}

// Aliases of aliases, lists and faults without end must cost little.
func TestHostileFilesAreBounded(t *testing.T) {
	long := strings.Repeat("x", 200)
	for _, c := range []struct{ name, text, want string }{
		{"aliases that multiply", "origins: &o [" + strings.Repeat("https://a, ", 999) + "]\nroutes:\n - &r {path: /a, upstream: 'ws://a', origins: *o}\n" +
			strings.Repeat(" - *r\n", 900), "sidecar.yaml:1:7725: holds more than 100000 values, each use of an alias counted"},
		{"a long list", "listen: [" + strings.Repeat("':0', ", 1001) + "]\n", "sidecar.yaml:1:9: listen: has 1001 entries; at most 1000"},
		{"many routes", "routes: [" + strings.Repeat("a, ", 1001) + "]\n", "sidecar.yaml:1:9: routes: has 1001 entries; at most 1000"},
		{"faults without end", strings.Repeat(long+"{}: 1\n", 1), "is no key"},
		{"a cycle", "upstream: &u {url: *u}\n", "sidecar.yaml:1:20: upstream.url: must be a single value, not a mapping"},
		{"a deep nest", strings.Repeat("[", 9000) + strings.Repeat("]", 9000), "must be a mapping"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("sidecar.yaml", []byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %.300v; want %q in it", err, c.want)
			}
			if n := len(err.Error()); n > 64<<10 {
				t.Errorf("the message has %d bytes", n)
			}
		})
	}
}

func TestOnlyAHundredFaultsAreTold(t *testing.T) {
	var text strings.Builder
	for i := range 250 {
		text.WriteString(strings.Repeat("x", i+1) + ": 1\n")
	}
	_, err := Parse("sidecar.yaml", []byte(text.String()))
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxFaults+1 || lines[maxFaults] != "and 151 more" {
		t.Errorf("%d lines, the last %q; want %d and the count of the rest", len(lines), lines[len(lines)-1], maxFaults+1)
	}
}
