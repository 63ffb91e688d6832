package engineio

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sidecar/access"
	"sidecar/proxy"
	"sidecar/session"
)

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

// TestRefusedUpgradeEndsTheConnection: a proxy in front may take it for a tunnel, and
// a client's next bytes must not be a request that the proxy has not seen.
func TestRefusedUpgradeEndsTheConnection(t *testing.T) {
	r := newRig(t)
	r.back.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }
	c := r.client()
	wantEnd := func(what, query string) {
		t.Helper()
		_, res, err := c.dial(query)
		if res == nil || err == nil {
			t.Fatalf("%s: got %v, %v; want a refusal", what, res, err)
		}
		if !res.Close {
			t.Errorf("%s: the answer %d keeps the connection", what, res.StatusCode)
		}
	}
	for _, query := range []string{sockets, sockets + "&sid=x", "EIO=3&transport=websocket", polls, "EIO=4"} {
		wantEnd(query, query)
	}
	c.header.Set("Origin", "http://foreign.example")
	wantEnd("foreign page", sockets)
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
		if got := len(r.back.asked); got != 1 {
			t.Errorf("%s: the backend was asked %d times; want once", name, got)
		}
	}
	c := limited.client()
	limited.all.All()[0].End(session.Left, session.Close{Code: codeGoingAway})
	c.open()
}
