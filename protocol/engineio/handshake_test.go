package engineio

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecar/access"
	"sidecar/proxy"
	"sidecar/session"
)

func wantOpenPacket(t *testing.T, body string, upgrades ...any) {
	t.Helper()
	var o map[string]any
	if !strings.HasPrefix(body, "0") || json.Unmarshal([]byte(body[1:]), &o) != nil {
		t.Fatalf("open packet is %q", body)
	}
	keys := slices.Sorted(maps.Keys(o))
	if want := []string{"maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"}; !slices.Equal(keys, want) {
		t.Errorf("open packet has %q; want %q", keys, want)
	}
	got := fmt.Sprint(o["upgrades"], o["pingInterval"], o["pingTimeout"], o["maxPayload"])
	if want := fmt.Sprint(append([]any{}, upgrades...), 300, 200, 1e6); got != want {
		t.Errorf("open packet says %s; want %s", got, want)
	}
	if sid, _ := o["sid"].(string); len(sid) < 20 {
		t.Errorf("sid is %q; want a long one", sid)
	}
}

func quick(r *rig) {
	r.h.Settings.PingInterval, r.h.Settings.PingTimeout = 300*time.Millisecond, 200*time.Millisecond
}

func TestHandshakeByPolling(t *testing.T) {
	r := newRig(t, quick)
	a := r.client().ask("GET", polls+"&t=random", "")
	wantOpenPacket(t, a.body, "websocket")
	for name, want := range map[string]string{"Content-Type": "text/plain; charset=UTF-8", "Cache-Control": "no-store", "Set-Cookie": ""} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
}

func TestHandshakeByWebSocket(t *testing.T) {
	r := newRig(t, quick)
	m, binary := r.client().mustDial(sockets).hear()
	if binary {
		t.Error("the open packet is binary")
	}
	wantOpenPacket(t, m)
}

func TestPathBelowTheProtocolsIsServed(t *testing.T) {
	r := newRig(t)
	res, err := http.Get(r.URL + "/app/engine.io/foo?" + polls)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("a path below got %d; want 200", res.StatusCode)
	}
}

func TestBackendSeesTheClientsOwnHandshake(t *testing.T) {
	for _, open := range map[string]func(r *rig, c *client){
		"polling": func(r *rig, c *client) {
			c.hear(c.ask("GET", "room=1&"+polls+"&t=x&b64=1&j=0&user=%26", "").body)
		},
		"websocket": func(r *rig, c *client) {
			m, _ := c.mustDial("room=1&" + sockets + "&t=x&user=%26").hear()
			c.hear(m)
		},
	} {
		r := newRig(t)
		r.h.Settings.Cookie = true
		c := r.client()
		c.header.Set("Cookie", "a=b; io=OTHERSID; c=d")
		c.header.Set("Authorization", "Bearer x")
		open(r, c)
		asked := <-r.back.asked
		if got, want := asked.RequestURI, "/app?room=1&user=%26"; got != want {
			t.Errorf("backend was asked for %s; want %s", got, want)
		}
		for name, want := range map[string]string{
			"Cookie": "a=b; c=d", "Authorization": "Bearer x", proxy.SessionHeader: session.Public(c.sid), "X-Forwarded-For": "127.0.0.1",
		} {
			if got := asked.Header.Get(name); got != want {
				t.Errorf("backend was sent %s: %q; want %q", name, got, want)
			}
		}
		if strings.Contains(fmt.Sprint(asked.Header, asked.RequestURI), c.sid) {
			t.Error("backend was told the sid")
		}
	}
}

// TestFaults has each reason for which a request is not served, in the order in
// which they are found.
func TestFaults(t *testing.T) {
	r := newRig(t)
	c := r.polling()
	_, upgraded := r.socket()
	sid := "&sid=" + c.sid
	for _, f := range []struct {
		method, query string
		code          int
	}{
		{"GET", "", 0},
		{"GET", "EIO=4", 0},
		{"GET", "EIO=4&transport=abc", 0},
		{"GET", "EIO=4&transport=__proto__", 0},
		{"GET", "EIO=4&transport=webtransport", 0},
		{"GET", "EIO=4&transport=polling&transport=polling", 0},
		{"GET", "EIO=4&transport=abc&sid=x", 0},
		{"POST", "transport=", 0},
		{"GET", polls + "&sid=x", 1},
		{"GET", polls + "&sid=", 1},
		{"POST", polls + "&sid=x", 1},
		{"PUT", polls + "&sid=x", 1},
		{"GET", "EIO=3&transport=polling&sid=x", 1},
		{"GET", sockets + "&sid=x", 1},
		{"GET", polls + sid + sid, 1},
		{"GET", polls + sid + "x", 1},
		{"POST", polls, 2},
		{"PUT", polls, 2},
		{"POST", "EIO=3&transport=polling", 2},
		{"OPTIONS", polls, 2},
		{"PUT", polls + sid, 2},
		{"DELETE", polls + sid, 2},
		{"GET", sockets, 3},
		{"GET", "EIO=3&transport=websocket", 3},
		{"GET", sockets + sid, 3},
		{"POST", sockets + sid, 3},
		{"GET", "EIO=3&transport=polling" + sid, 3},
		{"POST", "EIO=3&transport=polling" + sid, 3},
		{"GET", "transport=polling" + sid, 3},
		{"GET", "EIO=3&transport=polling", 5},
		{"GET", "EIO=5&transport=polling", 5},
		{"GET", "EIO=abc&transport=polling", 5},
		{"GET", "EIO=&transport=polling", 5},
		{"GET", "EIO=4&EIO=4&transport=polling", 5},
		{"GET", "transport=polling", 5},
	} {
		t.Run(f.method+" "+strings.ReplaceAll(f.query, c.sid, "SID"), func(t *testing.T) {
			body := ""
			if f.method == "POST" {
				body = "4lost"
			}
			c := *c
			c.t = t
			c.wantFault(c.ask(f.method, f.query, body), 400, f.code)
		})
	}
	c.wantPost("4still there")
	upgraded.say("4still there")
	for range 2 {
		r.back.next().want("still there")
	}
}

func TestWebSocketIsRefusedBeforeThe101(t *testing.T) {
	r := newRig(t)
	c := r.polling()
	for _, f := range []struct {
		query string
		code  int
	}{
		{"EIO=4", 0},
		{"EIO=4&transport=abc", 0},
		{sockets + "&sid=x", 1},
		{sockets + "&sid=" + c.sid + "&sid=" + c.sid, 1},
		{polls, 3},
		{polls + "&sid=" + c.sid, 3},
		{"EIO=3&transport=websocket&sid=" + c.sid, 3},
		{"EIO=3&transport=websocket", 5},
		{"EIO=abc&transport=websocket", 5},
		{"transport=websocket", 5},
	} {
		c.wantFault(c.refusedSocket(f.query), 400, f.code)
	}
	c.wantPost("4still there")
	r.back.next().want("still there")
}

func TestOriginIsChecked(t *testing.T) {
	r := newRig(t)
	c := r.polling()
	foreign := func(r *http.Request) { r.Header.Set("Origin", "http://elsewhere.example") }
	for _, method := range []string{"GET", "POST", "OPTIONS", "PUT"} {
		for _, query := range []string{polls, c.query()} {
			a := c.ask(method, query, "", foreign)
			c.wantFault(a, 403, 4)
			if got := a.header.Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("%s: a foreign origin is allowed to read: %q", method, got)
			}
		}
	}
	c.header.Set("Origin", "http://elsewhere.example")
	c.wantFault(c.refusedSocket(sockets), 403, 4)
	c.wantFault(c.refusedSocket(sockets+"&sid="+c.sid), 403, 4)
	if n := len(r.back.asked); n != 1 {
		t.Errorf("backend was asked %d times; want once", n)
	}
}

func TestOriginWithControlCharacters(t *testing.T) {
	r := newRig(t, func(r *rig) { r.h.Desk.Guard.Origins = access.Origins{"*"} })
	for _, origin := range []string{"http://a\x00b", "http://a\rb", "http://a\x7f"} {
		w, q := httptest.NewRecorder(), httptest.NewRequest("GET", "/app/engine.io/?"+polls, nil)
		q.Header["Origin"] = []string{origin}
		r.h.ServeHTTP(w, q)
		r.client().wantFault(answer{w.Code, w.Header(), w.Body.String()}, 400, 3)
		if got := w.Header()["Access-Control-Allow-Origin"]; got != nil {
			t.Errorf("origin %q is repeated as %q", origin, got)
		}
	}
}

func TestCORS(t *testing.T) {
	r := newRig(t, func(r *rig) { r.h.Desk.Guard.Origins = access.Origins{"http://page.example"} })
	c := r.client()
	c.header.Set("Origin", "http://page.example")
	a := c.ask("OPTIONS", polls, "", func(r *http.Request) {
		r.Header.Set("Access-Control-Request-Headers", "x-a,x-b")
		r.Header.Set("Access-Control-Request-Method", "POST")
	})
	if a.status != 204 || a.header.Get("Access-Control-Allow-Headers") != "x-a,x-b" || !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("preflight got %d %v", a.status, a.header)
	}
	c.open()
	got := c.begun()
	for what, a := range map[string]answer{
		"preflight": a, "POST": c.post("4a"), "fault": c.ask("GET", "", ""), "close": c.post("1"), "poll": c.got(got), "unknown": c.get(),
	} {
		h := a.header
		if h.Get("Access-Control-Allow-Origin") != "http://page.example" || h.Get("Access-Control-Allow-Credentials") != "true" || !strings.Contains(strings.Join(h["Vary"], ","), "Origin") {
			t.Errorf("%s: headers are %v", what, h)
		}
	}
}

func TestCookie(t *testing.T) {
	proxies, err := access.ParseProxies([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(r *rig) { r.h.Settings.Cookie = true; r.h.Desk.Guard.Proxies = proxies })
	c := r.client()
	for scheme, secure := range map[string]string{"": "", "https": "; Secure"} {
		c.header.Set("X-Forwarded-Proto", scheme)
		a := c.ask("GET", polls, "")
		c.hear(a.body)
		if got, want := strings.Join(a.header["Set-Cookie"], "|"), "io="+c.sid+"; Path=/; HttpOnly"+secure+"; SameSite=Lax"; got != want {
			t.Errorf("Set-Cookie is %q; want %q", got, want)
		}
	}
	if a := c.post("4a"); a.header["Set-Cookie"] != nil {
		t.Errorf("a POST sets cookies %q", a.header["Set-Cookie"])
	}
	p, res, err := c.dial(sockets)
	if err != nil {
		t.Fatal(err)
	}
	p.hear()
	if got := res.Header["Set-Cookie"]; got != nil {
		t.Errorf("a WebSocket handshake sets cookies %q", got)
	}
}

func TestBackendsCookiesReachTheClient(t *testing.T) {
	r := newRig(t)
	r.back.header = http.Header{"Set-Cookie": {"a=1", "b=2; HttpOnly"}}
	a := r.client().ask("GET", polls, "")
	if got := a.header["Set-Cookie"]; !slices.Equal(got, r.back.header["Set-Cookie"]) {
		t.Errorf("by polling: Set-Cookie is %q", got)
	}
	_, res, err := r.client().dial(sockets)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Header["Set-Cookie"]; !slices.Equal(got, r.back.header["Set-Cookie"]) {
		t.Errorf("by WebSocket: Set-Cookie is %q", got)
	}
}

func TestBackendRefuses(t *testing.T) {
	for _, c := range []struct{ status, want int }{{401, 401}, {503, 503}, {302, 502}, {200, 502}} {
		r := newRig(t, func(r *rig) { r.h.Desk.Guard.Origins = access.Origins{"http://page.example"} })
		r.back.answer = func(w http.ResponseWriter, _ *http.Request) {
			for name, value := range map[string]string{
				"Set-Cookie": "a=1", "Content-Type": "text/x-reason", "Access-Control-Allow-Origin": "*", "Cache-Control": "public", "Vary": "X", "Retry-After": "7",
			} {
				w.Header().Set(name, value)
			}
			w.WriteHeader(c.status)
			io.WriteString(w, "not you")
		}
		client := r.client()
		client.header.Set("Origin", "http://page.example")
		for what, a := range map[string]answer{"polling": client.ask("GET", polls, ""), "websocket": client.refusedSocket(sockets)} {
			if a.status != c.want || a.body != "not you" {
				t.Errorf("%s: backend's %d came as %d %q; want %d", what, c.status, a.status, a.body, c.want)
			}
			for name, want := range map[string]string{
				"Set-Cookie": "a=1", "Content-Type": "text/x-reason", "Access-Control-Allow-Origin": "http://page.example", "Cache-Control": "no-store", "Vary": "Origin", "Retry-After": "7",
			} {
				if got := strings.Join(a.header[name], ","); got != want {
					t.Errorf("%s: %s is %q; want %q", what, name, got, want)
				}
			}
		}
		if n := r.limiter.Len(); n != 0 {
			t.Errorf("%d sessions are counted that never were", n)
		}
	}
}

func TestBackendIsNotThere(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	for _, c := range []struct {
		addr   string
		status int
	}{{dead.Addr().String(), 502}, {mute.Addr().String(), 504}} {
		r := newRig(t, func(r *rig) {
			b, err := proxy.NewBackend(proxy.Upstream{URL: "ws://" + c.addr}, "/app")
			if err != nil {
				t.Fatal(err)
			}
			r.h.Dialer.Backend = b
			r.h.Dialer.Limits.DialTimeout = 50 * time.Millisecond
		})
		client := r.client()
		for what, a := range map[string]answer{"polling": client.ask("GET", polls, ""), "websocket": client.refusedSocket(sockets)} {
			client.wantFault(a, c.status, 4)
			if got := a.header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("%s: Cache-Control is %q", what, got)
			}
		}
		if n := r.limiter.Len(); n != 0 {
			t.Errorf("%d sessions are counted that never were", n)
		}
	}
}

func TestNoRoomForASession(t *testing.T) {
	limited := newRig(t, func(r *rig) { r.limiter.Set(access.Limits{Connections: 1}) })
	full := newRig(t, func(r *rig) { r.all.Memory = 1 })
	for name, r := range map[string]*rig{"limiter": limited, "memory": full} {
		r.polling()
		c := r.client()
		for what, a := range map[string]answer{"polling": c.ask("GET", polls, ""), "websocket": c.refusedSocket(sockets)} {
			c.wantFault(a, 503, 4)
			if got := a.header.Get("Retry-After"); got == "" {
				t.Errorf("%s, %s: no Retry-After", name, what)
			}
		}
		if got := r.limiter.Len(); got != 1 {
			t.Errorf("%s: %d sessions are counted; want 1", name, got)
		}
	}
	c := limited.client()
	limited.all.All()[0].End(session.Left, session.Close{Code: codeGoingAway})
	c.open()
}

func TestSubprotocols(t *testing.T) {
	for _, c := range []struct {
		name            string
		offers, ours    []string
		asked, answered string
	}{
		{"none", nil, nil, "", ""},
		{"backend chooses", []string{"first", "chosen"}, []string{"ours"}, "first, chosen", "chosen"},
		{"backend chooses none", []string{"first", "second"}, nil, "first, second", "first"},
		{"the operator's", nil, []string{"chosen"}, "chosen", ""},
	} {
		r := newRig(t, func(r *rig) { r.h.Subprotocols = c.ours })
		p, res, err := r.client().dial(sockets, c.offers...)
		if err != nil {
			t.Fatal(err)
		}
		p.hear()
		if got := (<-r.back.asked).Header.Get("Sec-Websocket-Protocol"); got != c.asked {
			t.Errorf("%s: backend was offered %q; want %q", c.name, got, c.asked)
		}
		if got := res.Header.Get("Sec-Websocket-Protocol"); got != c.answered {
			t.Errorf("%s: client was answered %q; want %q", c.name, got, c.answered)
		}
	}
	r := newRig(t, func(r *rig) { r.h.Subprotocols = []string{"chosen"} })
	c := r.polling()
	if got := (<-r.back.asked).Header.Get("Sec-Websocket-Protocol"); got != "chosen" {
		t.Errorf("by polling, backend was offered %q; want chosen", got)
	}
	if _, res, err := c.dial(sockets+"&sid="+c.sid, "first", "second"); err != nil || res.Header.Get("Sec-Websocket-Protocol") != "first" {
		t.Errorf("upgrading: got %v, %v; want the first that was offered", res.Header, err)
	}
}

func TestSessionIsItsOwners(t *testing.T) {
	r := newRig(t)
	c := r.client()
	c.header.Set("Authorization", "Bearer mine")
	c.open()
	for _, value := range []string{"", "Bearer other"} {
		thief := r.client()
		thief.sid = c.sid
		if value != "" {
			thief.header.Set("Authorization", value)
		}
		thief.wantUnknown()
		thief.wantFault(thief.post("1"), 400, 1)
		thief.wantFault(thief.refusedSocket(sockets+"&sid="+c.sid), 400, 1)
	}
	other := newRig(t)
	other.h.Sessions, other.h.Route = &r.all, "other"
	for _, h := range []http.Header{{}, c.header} {
		stray := other.client()
		stray.sid, stray.header = c.sid, h
		stray.wantUnknown()
	}
	c.wantPost("4mine")
	r.back.next().want("mine")
}

func TestSessionOfAnotherProtocolIsUnknown(t *testing.T) {
	r := newRig(t)
	c := r.polling()
	settings := session.Default()
	s, err := r.all.Open(session.Opening{Identity: r.h.identify(&http.Request{}), Settings: &settings, Backend: &quiet{}, Protocol: "another"})
	if err != nil {
		t.Fatal(err)
	}
	c.sid = s.ID()
	c.wantUnknown()
}

// quiet is a backend that takes everything.
type quiet struct {
	got    []string
	closed []session.Close
}

func (q *quiet) Write(m session.Message) error { q.got = append(q.got, string(m.Data)); return nil }
func (q *quiet) Close(c session.Close)         { q.closed = append(q.closed, c) }
func (q *quiet) Room()                         {}

// TestClientLeavesInTheHandshake: what was opened for it is given back.
func TestClientLeavesInTheHandshake(t *testing.T) {
	hold, free := make(chan struct{}), make(chan struct{})
	for name, upgrade := range map[string]string{"polling": "", "websocket": "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			gone := make(chan struct{})
			r.back.answer = func(w http.ResponseWriter, q *http.Request) {
				hold <- struct{}{}
				select {
				case <-q.Context().Done(): // the dial was given up
					close(gone)
				case <-free:
				}
			}
			conn, err := net.Dial("tcp", r.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			transport := map[string]string{"": polls}[upgrade]
			if transport == "" {
				transport = sockets
			}
			fmt.Fprintf(conn, "GET /app/engine.io/?%s HTTP/1.1\r\nHost: x\r\n%s\r\n", transport, upgrade)
			<-hold
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
			select {
			case <-gone:
			case <-time.After(patience):
				t.Error("the backend is still asked")
			}
			eventually(t, "counted sessions", 0, r.limiter.Len)
		})
	}
	close(free)
}

// deaf is a connection whose client has gone when it is to be answered.
type deaf struct{ *httptest.ResponseRecorder }

func (deaf) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestAnswerToTheHandshakeIsLost(t *testing.T) {
	r := newRig(t)
	q := httptest.NewRequest("GET", "/app/engine.io/?"+polls, nil)
	q.RemoteAddr = netip.MustParseAddrPort("127.0.0.1:1").String()
	r.h.ServeHTTP(deaf{httptest.NewRecorder()}, q)
	r.back.next().wantClose(codeGoingAway)
	r.wantSessions(0)
	q = httptest.NewRequest("GET", "/app/engine.io/?"+sockets, nil)
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		q.Header.Set(name, value)
	}
	r.h.ServeHTTP(httptest.NewRecorder(), q) // which cannot be hijacked
	r.back.next().wantClose(codeGoingAway)
	r.wantSessions(0)
}
