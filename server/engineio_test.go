package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// speaking is the head of a configuration with Engine.IO in it.
const speaking = "protocols: [websocket, engineio, http]\n"

func TestEngineIOBesideOtherProtocols(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{}, parse(t, speaking+`upstream: %s
routes:
  - {path: /chat, upstream: %[1]s}
  - {path: /own, upstream: %[1]s, engineio: {path: /eio, ping_interval: 3s, ping_timeout: 2s, max_payload: 2000}}
  - {path: /plain, upstream: %[1]s, protocols: http}
  - {path: /only, upstream: %[1]s, protocols: engineio}
  - {path: /other, host: other.example, upstream: %[1]s, protocols: http}
`, a.ws()))
	for _, path := range []string{"/engine.io/", "/engine.io/below", "/chat/engine.io/", "/own/eio", "/own/eio/", "/only/engine.io/"} {
		p := s.engine(path)
		p.open("")
		p.echoes("through " + path)
	}
	p := s.engine("/own/eio")
	if said := p.open(""); said.PingInterval != 3000 || said.PingTimeout != 2000 || said.MaxPayload != 2000 || fmt.Sprint(said.Upgrades) != "[websocket]" {
		t.Errorf("the route's own settings: %+v", said)
	}
	const query = "?EIO=4&transport=polling"
	for path, want := range map[string]string{
		"/engine.io":        "GET /engine.io" + query,
		"/engine.iox":       "GET /engine.iox" + query,
		"/x/engine.io/":     "GET /x/engine.io/" + query,
		"/own/engine.io/":   "GET /own/engine.io/" + query,
		"/own/eiox":         "GET /own/eiox" + query,
		"/engine%2Eio/":     "GET /engine%2Eio/" + query,
		"/plain/engine.io/": "GET /plain/engine.io/" + query,
		"/page":             "GET /page" + query,
	} {
		if status, body := get(t, s.addr(), path+query); status != http.StatusOK || body != want {
			t.Errorf("%s: %d %q; want it passed through", path, status, body)
		}
	}
	if status, body := get(t, s.addr(), "/only/page"); status != http.StatusNotFound {
		t.Errorf("plain HTTP beside Engine.IO alone: %d %q; want 404", status, body)
	}
	if _, res, err := s.socket("/only/ws", nil); err == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("raw WebSocket beside Engine.IO alone: %v; want 403", err)
	}
	echoes(t, s.mustSocket("/engine.io"), "a raw WebSocket where the slash is missing")
	echoes(t, s.mustSocket("/chat/ws"), "another")
}

func TestEngineIOOnAWebSocket(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{}, parse(t, speaking+"upstream: %s", a.ws()))
	c := s.mustSocket("/engine.io/?EIO=4&transport=websocket")
	if _, b, err := c.ReadMessage(); err != nil || !strings.HasPrefix(string(b), `0{"sid":"`) {
		t.Fatalf("handshake: %q, %v", b, err)
	}
	echoes(t, c, "4hello")
	for path, want := range map[string]int{
		"/engine.io/?EIO=4&transport=polling":           400, // an upgrade to what is no WebSocket
		"/engine.io/?EIO=3&transport=websocket":         400,
		"/engine.io/?EIO=4&transport=websocket&sid=foo": 400,
	} {
		if _, res, err := s.socket(path, nil); err == nil || res.StatusCode != want {
			t.Errorf("%s: %v; want status %d", path, err, want)
		}
	}
}

// A teller is a backend that tells each of its WebSockets what was asked for it.
func teller(t *testing.T) string {
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, Subprotocols: []string{"second", "first"}}
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.WriteJSON(map[string]any{"target": r.RequestURI, "header": r.Header, "host": r.Host})
		_, _, _ = c.ReadMessage()
	}))
	t.Cleanup(func() { b.CloseClientConnections(); b.Close() })
	return "ws" + strings.TrimPrefix(b.URL, "http")
}

func TestWhatTheBackendSeesOfEngineIO(t *testing.T) {
	s := start(t, Environment{}, parse(t, speaking+`upstream: {url: %s, subprotocol: first}
trusted_proxies: [127.0.0.1]
routes:
  - {path: /chat, upstream: %[1]s}
  - {path: /app, upstream: "%[1]s/behind/it"}
  - {path: /slash/, upstream: "%[1]s/behind/it"}
  - {path: /, host: localhost, upstream: "%[1]s/behind/it"}
  - {path: /caf%%C3%%A9, upstream: %[1]s}
`, teller(t)))
	for _, c := range []struct{ host, path, more, want string }{
		{"127.0.0.1", "/engine.io/", "&room=1&t=abc&b64=1&token=%20x", "/?room=1&token=%20x"},
		{"127.0.0.1", "/engine.io/some/where", "", "/"},
		{"127.0.0.1", "/chat/engine.io/", "&room=1", "/chat?room=1"},
		{"127.0.0.1", "/app/engine.io/", "", "/behind/it"},
		{"127.0.0.1", "/slash/engine.io/", "&room=1", "/behind/it?room=1"},
		{"127.0.0.1", "/caf%C3%A9/engine.io/", "", "/caf%C3%A9"},
		{"localhost", "/engine.io/", "", "/behind/it"},
	} {
		p := s.engine(c.path)
		p.base = strings.Replace(p.base, "127.0.0.1", c.host, 1)
		p.open(c.more)
		said := p.get()
		var seen struct {
			Target, Host string
			Header       http.Header
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(said, "4")), &seen); err != nil {
			t.Fatalf("%s: %q: %v", c.path, said, err)
		}
		if seen.Target != c.want {
			t.Errorf("%s: the backend was asked for %q; want %q", c.path, seen.Target, c.want)
		}
		if got := seen.Header.Get("X-Forwarded-For"); got != "127.0.0.1" || seen.Host == "" {
			t.Errorf("%s: X-Forwarded-For %q, host %q", c.path, got, seen.Host)
		}
		if public := seen.Header.Get("X-Sidecar-Session"); public == "" || strings.Contains(public, p.sid) {
			t.Errorf("%s: session %q; want a public name", c.path, public)
		}
		want := ""
		if c.host+c.path[:2] == "127.0.0.1/e" {
			want = "first"
		}
		if got := seen.Header.Get("Sec-Websocket-Protocol"); got != want {
			t.Errorf("%s: offered %q; want %q", c.path, got, want)
		}
	}
}

// Sessions are on their own route and identity only.
func TestEngineIOSessionsAreTheirRoutes(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{}, parse(t, speaking+"upstream: %s\nroutes: [{path: /chat, upstream: %[1]s}]", a.ws()))
	p := s.engine("/engine.io/")
	p.open("")
	thief := s.engine("/chat/engine.io/")
	thief.sid = p.sid
	if res, body := thief.ask("POST", "", "4mine"); res.StatusCode != 400 || !strings.Contains(body, `"code":1`) {
		t.Errorf("on another route: %d %q; want it unknown", res.StatusCode, body)
	}
	p.echoes("alive")
}

func TestEngineIOKeepsTheLimits(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{}, parse(t, speaking+"limits: {connections: 2}\nupstream: %s", a.ws()))
	first := s.engine("/engine.io/")
	first.open("")
	echoes(t, s.mustSocket("/ws"), "counted too")
	refused := func() bool {
		res, body := s.engine("/engine.io/").ask("GET", "", "")
		if res.StatusCode == http.StatusServiceUnavailable && (res.Header.Get("Retry-After") == "" || !strings.Contains(body, "limits.connections")) {
			t.Errorf("refused without a hint: %v %q", res.Header, body)
		}
		return res.StatusCode == http.StatusServiceUnavailable
	}
	if !refused() {
		t.Error("a third was let in")
	}
	first.echoes("as before")
	first.post("1")
	eventually(t, "room for another", func() bool { return !refused() })
	_, text := s.opsGet("/metrics")
	if want := `sidecar_handshakes_refused_total{reason="connections",route="/"}`; !strings.Contains(text, want) || strings.Contains(text, want+" 0\n") {
		t.Errorf("no refusal is counted")
	}
}

// Sessions have a socket to the backend each, whose descriptors are reckoned with
// even where the operator sets no bound.
func TestEngineIOIsBoundedByDescriptors(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{Descriptors: 128 + 1 + 40}, parse(t, speaking+"limits: {connections: off}\nupstream: %s", a.ws()))
	opened := 0
	p := s.engine("/engine.io/") // all of them over one connection
	for range s.budget.sockets {
		res, _ := p.ask("GET", "", "")
		if res.StatusCode == http.StatusServiceUnavailable {
			break
		}
		opened++
	}
	if want := s.budget.sockets * 19 / 20; opened != want {
		t.Errorf("%d sessions were opened; want %d of %d sockets", opened, want, s.budget.sockets)
	}
}

func TestEngineIOMemoryBound(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{}, parse(t, speaking+"session_memory: {limit: 1MiB}\nsession: {window: 1MiB}\nupstream: %s", a.ws()))
	full := s.engine("/engine.io/")
	full.open("")
	big := "4" + strings.Repeat("x", 600_000)
	full.post(big)
	full.post(big)
	var res *http.Response
	var body string
	eventually(t, "the bound", func() bool {
		res, body = s.engine("/engine.io/").ask("GET", "", "")
		return res.StatusCode == http.StatusServiceUnavailable
	})
	if res.Header.Get("Retry-After") == "" || !strings.Contains(body, `"code":`) {
		t.Errorf("at the bound: %v %q; want Retry-After and JSON", res.Header, body)
	}
	_, text := s.opsGet("/metrics")
	if !strings.Contains(text, "sidecar_session_memory_max_bytes 1.048576e+06\n") || !strings.Contains(text, `sidecar_handshakes_refused_total{reason="memory",route="/"} `) {
		t.Errorf("the metrics do not tell of the bound")
	}
	for got := 0; got < 1_200_000; { // it goes on, and makes room
		got += len(full.get())
	}
	s.engine("/engine.io/").open("")
	s.reload(speaking+"session_memory: {limit: off}\nupstream: %s", a.ws())
	if _, text := s.opsGet("/metrics"); !strings.Contains(text, "sidecar_session_memory_max_bytes +Inf\n") {
		t.Error("a reload does not change the bound")
	}
}

func TestEngineIOSessionsSurviveAReload(t *testing.T) {
	a := newApp(t)
	const before, after = speaking + "routes: [{path: /a, upstream: %s}, {path: /b, upstream: %[1]s}]",
		speaking + "engineio: {ping_interval: 7s}\nroutes: [{path: /a, upstream: %s}]"
	s := start(t, Environment{}, parse(t, before, a.ws()))
	stays, goes := s.engine("/a/engine.io/"), s.engine("/b/engine.io/")
	stays.open("")
	goes.open("")
	stays.echoes("before")
	held, lost := s.park(stays, 0), s.park(goes, 1)
	s.reload(after, a.ws())
	if said := s.engine("/a/engine.io/").open(""); said.PingInterval != 7000 {
		t.Errorf("a new session: %+v; want the new settings", said)
	}
	stays.post("4after")
	if got := within(t, held); got != "200 4after" {
		t.Errorf("the poll that was held during the reload: %q", got)
	}
	stays.echoes("and on")
	if res, _ := goes.ask("POST", "", "4x"); res.StatusCode != http.StatusNotFound {
		t.Errorf("on a route that is no more: %d; want 404", res.StatusCode)
	}
	select {
	case how := <-lost:
		t.Errorf("the poll on it ended with %q; want it held", how)
	default:
	}
	s.reload(before, a.ws())
	goes.post("4back") // the route is there again, and so is the session
	if got := within(t, lost); got != "200 4back" {
		t.Errorf("the poll on it: %q", got)
	}
}

// A sid is a secret: who reads the log cannot take a session over.
func TestSidsStayOutOfTheLog(t *testing.T) {
	s := start(t, Environment{}, parse(t, speaking+"upstream: %s", teller(t)))
	p := s.engine("/engine.io/")
	p.open("")
	var seen struct{ Header http.Header }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(p.get(), "4")), &seen); err != nil {
		t.Fatal(err)
	}
	p.ask("PUT", "", "x")
	thief := s.engine("/engine.io/")
	thief.sid = p.sid + "x"
	thief.ask("GET", "", "")
	p.post("1")
	eventually(t, "the line of its end", func() bool { return strings.Contains(s.log.String(), `"msg":"session ended"`) })
	if log := s.log.String(); strings.Contains(log, p.sid) || !strings.Contains(log, seen.Header.Get("X-Sidecar-Session")) {
		t.Errorf("want the public name %q and not %q in:\n%s", seen.Header.Get("X-Sidecar-Session"), p.sid, log)
	}
}

// A poll is quiet for as long as its session is; write_timeout is for what there is
// to write.
func TestPollsAreHeldLongerThanAWriteMayTake(t *testing.T) {
	const settings = speaking + "engineio: {ping_interval: 1s}\nlimits: {write_timeout: 100ms}\nupstream: %s"
	a := newApp(t)
	clear, secure := start(t, Environment{}, parse(t, settings, a.ws())), startTLS(t, settings, a.ws())
	for name, p := range map[string]*engineClient{
		"in clear": clear.engine("/engine.io/"),
		"TLS":      {t: t, base: secure.url("/engine.io/"), http: secure.client(false)},
		"HTTP/2":   {t: t, base: secure.url("/engine.io/"), http: secure.client(true)},
	} {
		p.open("")
		p.echoes("x") // whose answer has set deadlines
		if got := within(t, p.park()); got != "200 2" {
			t.Errorf("%s: %q; want it held until the ping", name, got)
		}
		p.post("3")
		p.echoes("y")
	}
}
