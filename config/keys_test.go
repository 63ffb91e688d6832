package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestEveryKeyHasADescription(t *testing.T) {
	used := map[string]bool{"routes.upstream": true}
	for _, name := range allNames() {
		if name == "" || strings.HasSuffix(name, ".") {
			t.Errorf("a field without a key: %q", name)
		}
		used[name] = true
	}
	for name := range used {
		if describe(name) == "" {
			t.Errorf("%s has no description", name)
		}
	}
	for name, text := range descriptions {
		if !used[name] {
			t.Errorf("the description of %s is left over", name)
		}
		if !strings.HasSuffix(text, ".") {
			t.Errorf("the description of %s is no sentence: %q", name, text)
		}
	}
}

func TestKeysFlagsAndVariablesAreDistinct(t *testing.T) {
	names := map[string]string{"config": "the file"}
	envs := map[string]string{"SIDECAR_CONFIG": "the file"}
	for _, k := range Keys() {
		if was, twice := names[k.Name]; twice {
			t.Errorf("%s is twice a flag: %s", k.Name, was)
		}
		if was, twice := envs[k.Env]; twice {
			t.Errorf("%s is the variable of %s and %s", k.Env, was, k.Name)
		}
		if injected.MatchString(k.Env) {
			t.Errorf("%s looks like one that Kubernetes injects", k.Env)
		}
		names[k.Name], envs[k.Env] = k.Name, k.Name
	}
	for _, want := range []string{"upstream", "upstream.url", "heartbeat.interval", "limits.header_timeout", "routes", "tls.eab.mac"} {
		if names[want] == "" {
			t.Errorf("there is no flag --%s", want)
		}
	}
	if got, want := envs["SIDECAR_HEARTBEAT_INTERVAL"], "heartbeat.interval"; got != want {
		t.Errorf("SIDECAR_HEARTBEAT_INTERVAL sets %q; want %q", got, want)
	}
}

// Every default, given as a flag, is the default.
func TestDefaultsAsFlags(t *testing.T) {
	t.Chdir(t.TempDir())
	args := []string{"--upstream=ws://127.0.0.1:9000"}
	for _, k := range Keys() {
		if k.Default != "" && !k.Planned {
			args = append(args, "--"+k.Name+"="+k.Default)
		}
	}
	got, err := load(t, nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Upstream.URL = "ws://127.0.0.1:9000"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// The names and defaults of the contract, written as it writes them.
func TestDefaultsAreTheContracts(t *testing.T) {
	want := map[string]string{
		"listen": ":8080", "protocols": "websocket,resume,http", "origins": "same-origin", "trusted_proxies": "", "proxy_protocol": "false",
		"heartbeat.interval": "20s", "heartbeat.timeout": "10s",
		"session.ttl": "1m", "session.window": "256KiB", "session.overflow": "pause", "session.identity": "Authorization",
		"session_memory.limit": "256MiB", "session_memory.evict": "false",
		"resume.poll": "25s", "resume.rotate": "55s",
		"engineio.path": "/engine.io/", "engineio.ping_interval": "25s", "engineio.ping_timeout": "20s",
		"engineio.upgrade_timeout": "10s", "engineio.max_payload": "1MB", "engineio.cookie": "false",
		"socketio.path": "/socket.io/", "socketio.mode": "message", "socketio.recovery": "true", "socketio.connect_timeout": "45s",
		"sockjs.path": "", "sockjs.websocket": "true", "sockjs.cookie": "false", "sockjs.response_limit": "128KiB",
		"sockjs.heartbeat": "25s", "sockjs.disconnect_delay": "5s", "sockjs.iframe": "false",
		"tls.mode": "off", "tls.http": ":80", "tls.loop": "true", "tls.cert": "", "tls.key": "", "tls.domains": "", "tls.email": "", "tls.ca": "",
		"tls.ca_roots": "", "tls.storage": "", "tls.challenges": "http-01,tls-alpn-01", "tls.on_demand.allow": "", "tls.on_demand.ask": "", "tls.eab.key_id": "", "tls.eab.mac": "",
		"tls.client_auth.ca": "", "tls.client_auth.mode": "require", "tls.client_auth.header": "X-Client-Subject",
		"limits.connections": "0", "limits.per_address": "0", "limits.handshakes_per_second": "0", "limits.message": "16MiB",
		"limits.body": "1MB", "limits.header_timeout": "5s", "limits.write_timeout": "10s", "limits.dial_timeout": "5s",
		"drain.delay": "0s", "drain.for": "10s", "ops.listen": "127.0.0.1:9090", "ops.check_upstream": "false",
		"log.level": "info", "log.format": "auto",
		"upstream": "", "upstream.url": "", "upstream.socket": "", "upstream.ca": "", "upstream.server_name": "",
		"upstream.cert": "", "upstream.key": "", "upstream.subprotocol": "", "routes": "",
	}
	for _, k := range Keys() {
		if text, ok := want[k.Name]; !ok || text != k.Default {
			t.Errorf("%s is %q by default; want %q", k.Name, k.Default, text)
		}
		delete(want, k.Name)
	}
	for name := range want {
		t.Errorf("%s is no key", name)
	}
}

// Settings that pass as defaults must be right where nobody asks them yet.
func TestDefaultsAreValid(t *testing.T) {
	l := newLoader(nil)
	l.validate(reflect.ValueOf(l.config.Sections), "")
	l.validate(reflect.ValueOf(l.config.TLS), "tls")
	l.validate(reflect.ValueOf(l.config.SessionMemory), "session_memory")
	for _, f := range l.faults {
		t.Error(f)
	}
}

func TestSuggest(t *testing.T) {
	for name, want := range map[string]string{
		"upstrem":                "; did you mean upstream?",
		"--limits.write-timeout": "; did you mean limits.write_timeout?",
		"heartbeat.intervall":    "; did you mean heartbeat.interval?",
		"confg":                  "; did you mean config?",
		"frobnicate":             "",
		"":                       "",
	} {
		if got := Suggest(name); got != want {
			t.Errorf("Suggest(%q) = %q; want %q", name, got, want)
		}
	}
}
