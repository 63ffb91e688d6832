package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const upgradeHead = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

func TestRequestTargets(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{}, parse(t, `upstream: %s
routes:
  - {path: /app, upstream: %[1]s/inner}
  - {path: /nohttp, upstream: %[1]s, protocols: [websocket]}
  - {path: /nosocket, upstream: %[1]s, protocols: [http]}
`, a.ws()))
	for _, c := range []struct {
		name, head string // the request line and more
		status     int
		closes     bool
		body       string
	}{
		{"plain", "GET /a%2fb/../c?q=%3D HTTP/1.1\r\nHost: a", 200, false, "GET /a%2fb/../c?q=%3D"},
		{"double slash", "GET //evil.example/x HTTP/1.1\r\nHost: a", 200, false, "GET //evil.example/x"},
		{"prefix replaced", "GET /app/x%2Fy HTTP/1.1\r\nHost: a", 200, false, "GET /inner/x%2Fy"},
		{"dots pass where the path is kept", "GET /%2e%2e/admin HTTP/1.1\r\nHost: a", 200, false, "GET /%2e%2e/admin"},
		{"dots behind a prefix", "GET /app/../x HTTP/1.1\r\nHost: a", 400, false, "dot segments are not served on this route\n"},
		{"encoded dots behind a prefix", "GET /app/%2e%2E/x HTTP/1.1\r\nHost: a", 400, false, "dot segments are not served on this route\n"},
		{"encoded slashes and dots", "GET /app/x%2f..%2f..%2fx HTTP/1.1\r\nHost: a", 400, false, "dot segments are not served on this route\n"},
		{"dots in a handshake", "GET /app/%2e%2e/x HTTP/1.1\r\nHost: a\r\n" + upgradeHead, 400, false, "dot segments are not served on this route\n\r\n"},
		{"CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80", 405, true, "CONNECT is not served here\n"},
		{"CONNECT with a body", "CONNECT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 405, true, "CONNECT is not served here\n"},
		{"absolute", "GET http://169.254.169.254/ HTTP/1.1\r\nHost: a", 400, false, "the request target must be a path\n"},
		{"absolute handshake", "GET http://169.254.169.254/ HTTP/1.1\r\nHost: a\r\n" + upgradeHead, 400, false, "the request target must be a path\n"},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: a", 400, false, "the request target must be a path\n"},
		{"websocket off", "GET /nosocket HTTP/1.1\r\nHost: a\r\n" + upgradeHead, 403, false, "WebSocket is switched off on this route (protocols)\n"},
		{"http off", "GET /nohttp HTTP/1.1\r\nHost: a", 404, false, "plain HTTP is switched off on this route (protocols)\n"},
		{"a refused body closes", "POST /nohttp HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 404, true, "plain HTTP is switched off on this route (protocols)\n"},
		{"h2c", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", 400, true, ""},
		{"empty upgrade", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade:", 400, true, ""},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM", 505, true, ""},
	} {
		res, body := s.raw(strings.TrimSuffix(c.head, "\r\n") + "\r\n\r\n")
		if res.StatusCode != c.status || res.Close != c.closes {
			t.Errorf("%s: %d, closes %v; want %d, %v", c.name, res.StatusCode, res.Close, c.status, c.closes)
		}
		if want := strings.TrimSuffix(c.body, "\r\n"); c.body != "" && body != want {
			t.Errorf("%s: body %q; want %q", c.name, body, want)
		}
	}
}

func TestRoutesByHost(t *testing.T) {
	one, two := newApp(t), newApp(t)
	s := start(t, Environment{}, parse(t, `routes:
  - {path: /a, upstream: %s/one}
  - {host: two.example, upstream: %s/two}
`, one.ws(), two.ws()))
	for _, c := range []struct {
		host, path string
		status     int
		body       string
	}{
		{"x", "/a/b", 200, "GET /one/b"},
		{"two.example:99", "/a/b", 200, "GET /two/a/b"},
		{"TWO.example", "/", 200, "GET /two/"},
		{"x", "/b", 404, "no route for this host and path (routes)\n"},
		{"x", "/metrics", 404, "no route for this host and path (routes)\n"},
		{"x", "/debug/pprof/", 404, "no route for this host and path (routes)\n"},
		{"x", "/readyz", 404, "no route for this host and path (routes)\n"},
	} {
		res, body := s.raw(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", c.path, c.host))
		if res.StatusCode != c.status || body != c.body {
			t.Errorf("%s%s: %d %q; want %d %q", c.host, c.path, res.StatusCode, body, c.status, c.body)
		}
	}
}

func TestTenThousandHeadersAreRefused(t *testing.T) {
	s := start(t, Environment{}, parse(t, "upstream: ws://127.0.0.1:1"))
	c := dial(t, s.addr())
	go func() {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n"+strings.Repeat("X-A: 1\r\n", 10_000)+"\r\n")
	}()
	if res, _ := answerOf(t, c); res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %d; want 431", res.StatusCode)
	}
}

// closedIn reads c to its end and says how long that took.
func closedIn(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	start := time.Now()
	if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("still open after %v", time.Since(start))
	}
	return time.Since(start)
}

func TestSlowHeadsAreCut(t *testing.T) {
	const most, others = 2000, 100
	a := newApp(t)
	s := start(t, Environment{Descriptors: 20000}, parse(t, "upstream: %s\nlimits: {header_timeout: 3s}", a.ws()))
	slow := []net.Conn{dial(t, s.addr())} // which stays silent
	for range most {
		c := dial(t, s.addr())
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHo"); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	served := 0
	for range others {
		if status, _ := get(t, s.addr(), "/served"); status == 200 {
			served++
		}
	}
	if served < others*99/100 {
		t.Errorf("meanwhile %d of %d others were served; want 99 in 100", served, others)
	}
	begin := time.Now()
	for _, c := range slow {
		closedIn(t, c)
	}
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("cutting them took %v", took)
	}
	eventually(t, "giving all slots back", func() bool { return s.slots.open() <= 1 })
}

func TestARefusedBodyThatNeverEndsIsCut(t *testing.T) {
	s := start(t, Environment{}, parse(t, "routes: [{path: /x, upstream: ws://127.0.0.1:1}]"))
	c := dial(t, s.addr())
	_ = c.SetDeadline(time.Now().Add(answerTime + patience))
	if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if took := closedIn(t, c); took > answerTime+5*time.Second {
		t.Errorf("cut after %v; want %v", took, answerTime)
	}
	eventually(t, "giving the slot back", func() bool { return s.slots.open() <= 1 })
}

func TestDescriptorsBoundClients(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{Descriptors: 128 + 1 + 20}, parse(t, "upstream: %s", a.ws())) // ten clients
	var in []net.Conn
	for range 10 {
		c := dial(t, s.addr())
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if res, _ := answerOf(t, c); res.StatusCode != 200 {
			t.Fatalf("got %d; want 200", res.StatusCode)
		}
		in = append(in, c)
	}
	eventually(t, "a pause", func() bool {
		_, text := s.opsGet("/metrics")
		return strings.Contains(text, "\nsidecar_accept_pauses_total 1\n")
	})
	waiting := dial(t, s.addr())
	fmt.Fprint(waiting, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	_ = waiting.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := waiting.Read(make([]byte, 1)); n != 0 || !strings.Contains(err.Error(), "timeout") {
		t.Fatalf("the eleventh read %d, %v; want it to wait", n, err)
	}
	_ = waiting.SetReadDeadline(time.Now().Add(time.Second))
	_ = in[0].Close()
	if res, _ := answerOf(t, waiting); res.StatusCode != 200 {
		t.Errorf("once there was room it got %d; want 200", res.StatusCode)
	}
	if n := strings.Count(s.log.String(), "accepting no more clients"); n != 1 {
		t.Errorf("%d log lines say so; want 1", n)
	}
}

func TestHijackedConnectionsGiveTheirSlotBack(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{}, parse(t, "upstream: %s", a.ws()))
	const base = 1 // of the accept that waits
	eventually(t, "accepting", func() bool { return s.slots.open() == base })
	c := s.mustSocket("/ws")
	echoes(t, c, "x")
	eventually(t, "taking a slot", func() bool { return s.slots.open() == base+1 })
	_ = c.Close()
	eventually(t, "giving the slot back", func() bool { return s.slots.open() == base })
}

func TestStrangersCannotForgeLogLines(t *testing.T) {
	s := start(t, Environment{}, parse(t, "routes: [{path: /x, upstream: ws://127.0.0.1:1}]"))
	for _, head := range []string{
		"GET /%0d%0a%7b%22level%22%3a%22ERROR%22%7d%1b%5b31m%ff?token=secret HTTP/1.1\r\nHost: a\r\nUser-Agent: a\xff\xfe\"}",
		"GET /\xff?token=secret HTTP/1.1\r\nHost: a\r\nUser-Agent: " + strings.Repeat("x", 20_000),
		"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: a\x1b[31m", // net/http's own 400
		"GET /\x1b[31m HTTP/1.1\r\nHost: a",
		"GET / HTTP/1.1\r\nHost: a\x1b\"\r\nUser-Agent: a",
	} {
		c := dial(t, s.addr())
		fmt.Fprint(c, head, "\r\nConnection: close\r\n\r\n")
		closedIn(t, c)
	}
	eventually(t, "the log lines", func() bool { return strings.Count(s.log.String(), "request refused") == 2 })
	for line := range strings.Lines(s.log.String()) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Errorf("no JSON: %q: %v", line, err)
		}
		if strings.ContainsAny(line, "\x1b\r") || len(line) > 2000 {
			t.Errorf("control characters or too long: %q", line)
		}
		if strings.Contains(line, "secret") {
			t.Errorf("a query value: %q", line)
		}
	}
}

func TestPanicsAreLoggedAndEndOneConnection(t *testing.T) {
	s := start(t, Environment{}, parse(t, "routes: [{path: /x, upstream: ws://127.0.0.1:1}]"))
	s.inForce.Load().table[""][0].plain = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oops") })
	c := dial(t, s.addr())
	fmt.Fprint(c, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
	closedIn(t, c)
	if log := s.log.String(); !strings.Contains(log, `"panic":"oops"`) || !strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("the log does not say so:\n%s", log)
	}
	if status, _ := get(t, s.addr(), "/"); status != 404 {
		t.Errorf("afterwards: %d; want 404", status)
	}
}
