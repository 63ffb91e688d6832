package server

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidecar/config"
)

func TestReloadKeepsLiveConnections(t *testing.T) {
	one, two := newApp(t), newApp(t)
	s := start(t, Environment{}, parse(t, "upstream: %s/one", one.ws()))
	live := s.mustSocket("/ws")
	echoes(t, live, "before")
	s.reload("upstream: %s/two", two.ws())
	echoes(t, live, "after")
	if status, body := get(t, s.addr(), "/x"); status != 200 || body != "GET /two/x" {
		t.Errorf("a new request: %d %q; want the new upstream", status, body)
	}
	echoes(t, s.mustSocket("/ws"), "new")
	if first, second := one.sockets.Load(), two.sockets.Load(); first != 1 || second != 1 {
		t.Errorf("the old upstream had %d WebSockets and the new one %d; want one each", first, second)
	}
	if n := s.live.Len(); n != 2 {
		t.Errorf("%d live; want both connections, or the registry did not survive", n)
	}
}

// reload puts a configuration of the same listeners in force.
func (s *running) reload(text string, args ...any) {
	s.t.Helper()
	if err := s.Reload(parse(s.t, text, args...)); err != nil {
		s.t.Fatal(err)
	}
}

func TestARequestUnderWayKeepsItsBackend(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{}, parse(t, "upstream: %s", a.ws()))
	old := s.inForce.Load()
	got := make(chan string, 1)
	c := dial(t, s.addr())
	_, _ = io.WriteString(c, "GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	<-a.entered
	s.reload("upstream: ws://127.0.0.1:1")
	if n := old.refs.Load(); n != 1 {
		t.Errorf("the old plan has %d references; want the request's", n)
	}
	a.let()
	go func() {
		res, _ := answerOf(t, c)
		got <- res.Status
	}()
	if status := <-got; status != "200 OK" {
		t.Errorf("the request under way got %s; want 200", status)
	}
	eventually(t, "letting the old plan go", func() bool { return old.refs.Load() == 0 })
	if status, _ := get(t, s.addr(), "/"); status != 502 {
		t.Errorf("a new request got %d; want 502 of the new upstream", status)
	}
}

func TestAFaultyReloadChangesNothing(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{}, parse(t, "upstream: %s", a.ws()))
	before := s.inForce.Load()
	bad := parse(t, "upstream: {url: \"wss://localhost:1\", ca: %q}", filepath.Join(t.TempDir(), "none.pem"))
	bad.Log.Level = slog.LevelError
	err := s.Reload(bad)
	if err == nil || !strings.Contains(err.Error(), "upstream.ca") {
		t.Fatalf("got %v; want the missing file", err)
	}
	s.ReloadFailed(err)
	if s.inForce.Load() != before || s.level.Level() != before.config.Log.Level {
		t.Error("something of it is in force")
	}
	if status, _ := get(t, s.addr(), "/"); status != 200 {
		t.Errorf("got %d; want 200", status)
	}
	if _, text := s.opsGet("/metrics"); !strings.Contains(text, `sidecar_config_reloads_total{result="failed"} 1`) {
		t.Error("not counted")
	}
}

func TestReloadFailedLogsEachFault(t *testing.T) {
	s := start(t, Environment{}, parse(t, "upstream: ws://127.0.0.1:1"))
	_, err := config.Parse("bad.yaml", []byte("upstraem: x\nlimits: {mesage: 1MB}\n"))
	s.ReloadFailed(err)
	for _, want := range []string{"bad.yaml:1:1: upstraem", "bad.yaml:2:10: limits.mesage"} {
		if !strings.Contains(s.log.String(), `"fault":"`+want) {
			t.Errorf("no line for %s in\n%s", want, s.log)
		}
	}
}

func TestReloadNamesWhatNeedsARestart(t *testing.T) {
	s := start(t, Environment{}, parse(t, "upstream: ws://127.0.0.1:1"))
	c := parse(t, "upstream: ws://127.0.0.1:2\ntrusted_proxies: [10.0.0.0/8]\nproxy_protocol: true\nlimits: {header_timeout: 7s}")
	c.Listen = []string{"127.0.0.1:1"}
	c.Ops.Listen = "off"
	c.Log.Format = "text"
	c.Log.Level = slog.LevelWarn
	if err := s.Reload(c); err != nil {
		t.Fatal(err)
	}
	const want = `"keys":"listen, proxy_protocol, limits.header_timeout, ops.listen, log.format"`
	if log := s.log.String(); strings.Count(log, "need a restart") != 1 || !strings.Contains(log, want) {
		t.Errorf("want one warning with %s in\n%s", want, log)
	}
	if s.level.Level() != slog.LevelWarn {
		t.Errorf("log.level is %v; want warn at once", s.level.Level())
	}
}

func TestNeedRestart(t *testing.T) {
	boot := parse(t, "upstream: ws://127.0.0.1:1\ntrusted_proxies: [10.0.0.0/8]\nproxy_protocol: true")
	for name, c := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"nothing":         {func(*config.Config) {}, ""},
		"what may change": {func(c *config.Config) { c.Drain.For = time.Second; c.Limits.Access.Connections = 3 }, ""},
		"tls":             {func(c *config.Config) { c.TLS.Mode, c.TLS.HTTP, c.TLS.Loop = "files", "off", false }, "tls.mode,tls.http,tls.loop"},
		"another pair":    {func(c *config.Config) { c.TLS.Cert, c.TLS.Key = []string{"a"}, []string{"b"} }, ""},
		"other names":     {func(c *config.Config) { c.TLS.Domains, c.TLS.OnDemand.Ask = []string{"a"}, "http://a" }, ""},
		"another authority": {func(c *config.Config) {
			c.TLS.Email, c.TLS.CA, c.TLS.CARoots, c.TLS.Storage, c.TLS.Challenges, c.TLS.EAB.KeyID = "a@b.c", "https://a", "a", "/a", nil, "a"
		}, "tls.email,tls.ca,tls.ca_roots,tls.storage,tls.challenges,tls.eab"},
		"slow clients":    {func(c *config.Config) { c.Limits.Proxy.WriteTimeout = time.Minute }, ""},
		"trusted proxies": {func(c *config.Config) { c.TrustedProxies = nil }, "trusted_proxies (for proxy_protocol)"},
	} {
		changed := boot
		c.change(&changed)
		if got := strings.Join(needRestart(boot, changed), ","); got != c.want {
			t.Errorf("%s: %q; want %q", name, got, c.want)
		}
	}
}

func TestReloadKeepsCountsAndChangesBounds(t *testing.T) {
	a := newApp(t)
	const routes = "routes: [{path: /, upstream: %s, limits: {connections: %d}}]"
	s := start(t, Environment{}, parse(t, routes, a.ws(), 1))
	c := s.mustSocket("/ws")
	if _, res, err := s.socket("/ws", nil); err == nil || res.StatusCode != 503 {
		t.Fatalf("the second got %v; want 503", res)
	}
	s.reload(routes, a.ws(), 2)
	s.mustSocket("/ws")
	if _, res, err := s.socket("/ws", nil); err == nil || res.StatusCode != 503 {
		t.Errorf("the third got %v; want 503: both that are in count", res)
	}
	echoes(t, c, "still in")
	s.reload("upstream: %s\nlimits: {connections: 2}", a.ws())
	if _, res, err := s.socket("/ws", nil); err == nil || res.StatusCode != 503 {
		t.Errorf("with the program's bound it got %v; want 503", res)
	}
	if _, text := s.opsGet("/metrics"); !strings.Contains(text, "\nsidecar_limit{limit=\"connections\"} 2\n") {
		t.Error("the bound in the metrics is not the new one")
	}
}

func TestReloadWhileServing(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{}, parse(t, "upstream: %s", a.ws()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 50 {
			if err := s.Reload(s.boot); err != nil {
				t.Error(err)
			}
		}
	}()
	for served := 0; ; served++ {
		if status, _ := get(t, s.addr(), "/"); status != 200 {
			t.Fatalf("request %d got %d; want 200", served, status)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

func TestNewCreatesNoFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	s := start(t, Environment{}, parse(t, "upstream: ws://127.0.0.1:1"))
	s.stop()
	_ = s.wait(patience)
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("%v, %v; want none", files, err)
	}
}
