package engineio

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
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

// TestSessionIsBoundToAnyCookie: also to one that net/http takes for none.
func TestSessionIsBoundToAnyCookie(t *testing.T) {
	r := newRig(t, func(r *rig) { r.h.Session.Identity = []string{"cookie:auth"} })
	c := r.client()
	c.header.Set("Cookie", `auth={"user":"me"}`)
	c.open()
	for _, cookie := range []string{"", `auth={"user":"you"}`} {
		thief := r.client()
		thief.sid = c.sid
		if cookie != "" {
			thief.header.Set("Cookie", cookie)
		}
		thief.wantFault(thief.post("1"), 400, 1)
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

func (q *quiet) Close(c session.Close) { q.closed = append(q.closed, c) }

func (q *quiet) Room() {}
