package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecar/access"
)

// headersOf reads a request's head as the recorder got it.
func headersOf(t *testing.T, raw string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	if err != nil {
		t.Fatalf("backend got %q: %v", raw, err)
	}
	return r
}

func wantHeader(t *testing.T, h http.Header, key string, want ...string) {
	t.Helper()
	if got := h.Values(key); !slices.Equal(got, want) {
		t.Errorf("%s = %q; want %q", key, got, want)
	}
}

func TestHandshakeReachesBackendAsItWas(t *testing.T) {
	d, rec := doorTo(t, says(handshakeAnswer(
		"Sec-WebSocket-Protocol: chat.v2\r\nSec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n"+
			"Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nX-Backend: yes\r\nKeep-Alive: timeout=5\r\n")))
	request := strings.Replace(handshakeRequest(
		"Cookie: a=1; b=\"2\"\r\nCookie: c=3\r\nAuthorization: Bearer x.y\r\nOrigin: http://chat.example:8443\r\n"+
			"Sec-WebSocket-Protocol: chat.v1, sidecar.none\r\nSec-WebSocket-Protocol: chat.v2,SIDECAR.resume.v1\r\n"+
			"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-other\r\n"+
			"Sec-WebSocket-Extensions: permessage-deflate\r\nX-Custom: \x80\xff\r\nUser-Agent: me\r\nExpect: 100-continue\r\nTE: trailers\r\n"+
			"Keep-Alive: 3\r\nProxy-Authorization: Basic x\r\nX-Listed: 1\r\nConnection: X-Listed\r\n"+
			"X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Proto: https\r\n"+
			"X-Real-IP: 6.6.6.6\r\nX-Sidecar-Session: mine\r\nX_Sidecar_Session: mine\r\n"),
		"GET /chat?room=1 HTTP/1.1\r\nHost: example.com", "GET /a%2Fb/../c;p=1?x=%zz;y&&z=%20+ HTTP/1.1\r\nHost: Chat.Example:8443", 1)
	p, res := d.ask(request)
	wantStatus(t, res, 101)
	wantHeader(t, res.Header, "Sec-WebSocket-Protocol", "chat.v2")
	wantHeader(t, res.Header, "Sec-WebSocket-Extensions", "permessage-deflate; client_no_context_takeover")
	wantHeader(t, res.Header, "Sec-WebSocket-Accept", acceptFor(testKey))
	wantHeader(t, res.Header, "Set-Cookie", "a=1; Path=/", "b=2")
	wantHeader(t, res.Header, "X-Backend", "yes")
	wantHeader(t, res.Header, "Connection", "Upgrade")
	wantHeader(t, res.Header, "Upgrade", "websocket")
	wantHeader(t, res.Header, "Keep-Alive")
	p.conn.Close()

	raw := rec.all(t, 1)[0]
	if want := "GET /a%2Fb/../c;p=1?x=%zz;y&&z=%20+ HTTP/1.1\r\nHost: Chat.Example:8443\r\n"; !strings.HasPrefix(raw, want) {
		t.Errorf("backend got %q; want it to begin %q", raw, want)
	}
	h := headersOf(t, raw).Header
	session := h.Values("X-Sidecar-Session")
	if len(session) != 1 || len(session[0]) < 20 {
		t.Errorf("X-Sidecar-Session = %q; want an id of ours", session)
	}
	for key, want := range map[string][]string{
		"Cookie":                   {`a=1; b="2"`, "c=3"},
		"Authorization":            {"Bearer x.y"},
		"Origin":                   {"http://chat.example:8443"},
		"Sec-Websocket-Key":        {testKey},
		"Sec-Websocket-Version":    {"13"},
		"Sec-Websocket-Protocol":   {"chat.v1, chat.v2"},
		"Sec-Websocket-Extensions": {"permessage-deflate; client_max_window_bits, x-other", "permessage-deflate"},
		"X-Custom":                 {"\x80\xff"},
		"User-Agent":               {"me"},
		"Connection":               {"Upgrade"},
		"Upgrade":                  {"websocket"},
		"X-Forwarded-For":          {"127.0.0.1"},
		"X-Forwarded-Proto":        {"http"},
		"X-Forwarded-Host":         {"Chat.Example:8443"},
	} {
		wantHeader(t, h, key, want...)
		h.Del(key)
	}
	h.Del(SessionHeader)
	if len(h) > 0 {
		t.Errorf("backend also got %q; want nothing more", h)
	}
	eventually(t, "the id in the log", func() bool { return strings.Contains(d.log.String(), `"session":"`+session[0]+`"`) })
}

// What Connection lists is gone, but nobody can have ours taken away so.
func TestConnectionListsOurHeaders(t *testing.T) {
	d, rec := doorTo(t, says(handshakeAnswer("")))
	p, res := d.ask(handshakeRequest("X-Auth: 1\r\nCookie: a=1\r\nConnection: X-Forwarded-For, X-Auth, Content-Length, Cookie\r\n" +
		"Connection: X-Sidecar-Session, Host, Sec-WebSocket-Key,, Sec-WebSocket-Version\r\n"))
	wantStatus(t, res, 101)
	p.conn.Close()
	r := headersOf(t, rec.all(t, 1)[0])
	wantHeader(t, r.Header, "X-Auth")
	wantHeader(t, r.Header, "Cookie")
	wantHeader(t, r.Header, "X-Forwarded-For", "127.0.0.1")
	wantHeader(t, r.Header, "Sec-Websocket-Key", testKey)
	wantHeader(t, r.Header, "Sec-Websocket-Version", "13")
	if r.Host != "example.com" || r.Header.Get(SessionHeader) == "" {
		t.Errorf("Host = %q, %s = %q; want both", r.Host, SessionHeader, r.Header.Get(SessionHeader))
	}
}

func TestOwnSubprotocolsStayHere(t *testing.T) {
	d, rec := doorTo(t, says(handshakeAnswer("")))
	p, res := d.ask(handshakeRequest("Sec-WebSocket-Protocol: sidecar.none, Sidecar.Resume.v1\r\n"))
	wantStatus(t, res, 101)
	p.conn.Close()
	if got := rec.all(t, 1)[0]; strings.Contains(strings.ToLower(got), "sec-websocket-protocol") {
		t.Errorf("backend got %q; want no Sec-WebSocket-Protocol", got)
	}
}

func TestTrustedProxyIsBelieved(t *testing.T) {
	d, rec := doorTo(t, says(handshakeAnswer("")))
	d.raw.Guard.Proxies = proxiesOf(t, "127.0.0.0/8", "10.0.0.0/8")
	p, res := d.ask(handshakeRequest("X-Forwarded-For: 6.6.6.6, 192.0.2.9, 10.0.0.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: outer.example\r\n"))
	wantStatus(t, res, 101)
	p.conn.Close()
	h := headersOf(t, rec.all(t, 1)[0]).Header
	wantHeader(t, h, "X-Forwarded-For", "192.0.2.9, 10.0.0.7, 127.0.0.1")
	wantHeader(t, h, "X-Forwarded-Proto", "https")
	wantHeader(t, h, "X-Forwarded-Host", "outer.example")
}

func proxiesOf(t *testing.T, list ...string) access.Proxies {
	t.Helper()
	p, err := access.ParseProxies(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRefusalsPassThrough(t *testing.T) {
	megabyte := strings.Repeat("m", maxRefusal-1)
	for _, c := range []struct {
		name, answer string
		status       int
		header       http.Header
		body         string
		keeps        bool // the connection
	}{
		{"401", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a\"\r\nWWW-Authenticate: Bearer\r\nContent-Length: 2\r\n\r\nno",
			401, http.Header{"Www-Authenticate": {`Basic realm="a"`, "Bearer"}}, "no", true},
		{"302", "HTTP/1.1 302 Found\r\nLocation: https://login.example/?a=b\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
			302, http.Header{"Location": {"https://login.example/?a=b"}, "Set-Cookie": {"a=1", "b=2"}}, "", true},
		{"403 without length", "HTTP/1.0 403 Forbidden\r\nX-Why: you\r\n\r\n" + strings.Repeat("n", 100_000),
			403, http.Header{"X-Why": {"you"}}, strings.Repeat("n", 100_000), true},
		{"404 chunked", "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nContent-Type: text/x\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
			404, http.Header{"Content-Type": {"text/x"}}, "abcde", true},
		{"429", "HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", 429, http.Header{"Retry-After": {"7"}}, "", true},
		{"503 without type", "HTTP/1.1 503 Busy\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 6\r\n\r\n<html>",
			503, http.Header{"Content-Type": nil, "X-Content-Type-Options": {"nosniff"}}, "<html>", true},
		{"304", "HTTP/1.1 304 Not Modified\r\nEtag: \"x\"\r\n\r\n", 304, http.Header{"Etag": {`"x"`}}, "", true},
		{"hop-by-hop", "HTTP/1.1 400 Bad\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 3\r\nProxy-Authenticate: x\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nx",
			400, http.Header{"X-Hop": nil, "Keep-Alive": nil, "Proxy-Authenticate": nil, "Upgrade": nil, "Connection": nil}, "x", true},
		{"almost 1 MiB", fmt.Sprintf("HTTP/1.1 500 Oh\r\nContent-Length: %d\r\n\r\n%s", len(megabyte), megabyte), 500, nil, megabyte, true},
		{"after interim answers", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 410 Gone\r\nContent-Length: 4\r\n\r\ngone",
			410, http.Header{"Link": nil}, "gone", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, rec := doorTo(t, func(v *visit) { v.say(c.answer); v.Close() })
			d.plain = nil
			p, res := d.ask(handshakeRequest(""))
			wantStatus(t, res, c.status)
			for key, want := range c.header {
				wantHeader(t, res.Header, key, want...)
			}
			if got := bodyOf(t, res); got != c.body {
				t.Errorf("body = %d bytes %.40q; want %d bytes %.40q", len(got), got, len(c.body), c.body)
			}
			if res.Close == c.keeps {
				t.Errorf("the connection closes: %v; want %v", res.Close, !c.keeps)
			}
			eventually(t, "the slot to be released", func() bool { return d.limiter.Len() == 0 })
			p.send([]byte("GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"))
			wantStatus(t, p.answer(), 400) // read as a request of its own, and not upgrade
			if got := rec.all(t, 1)[0]; strings.Contains(got, "admin") {
				t.Errorf("backend got %q; want the handshake only", got)
			}
			if !d.seen.has("dialed refused") {
				t.Errorf("events = %q; want dialed refused", d.seen.events)
			}
		})
	}
}

// A refusal whose body is not whole must not look whole.
func TestRefusalCutShort(t *testing.T) {
	long := strings.Repeat("m", maxRefusal+1)
	for name, answer := range map[string]string{
		"length":            "HTTP/1.1 403 No\r\nContent-Length: 10\r\n\r\nhalf",
		"chunked":           "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"in a chunk":        "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
		"1 MiB and 1":       fmt.Sprintf("HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n%s", len(long), long),
		"without length":    "HTTP/1.1 403 No\r\n\r\n" + long,
		"1 MiB in chunks":   "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nm\r\n", maxRefusal/4) + "0\r\n\r\n",
		"slower than bound": "HTTP/1.1 403 No\r\nContent-Length: 10\r\n\r\nslow",
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := doorTo(t, func(v *visit) {
				v.say(answer)
				if name != "slower than bound" {
					v.Close()
				}
			})
			d.raw.Limits.WriteTimeout = 300 * time.Millisecond
			p := dialPeer(t, d.addr)
			p.send([]byte(handshakeRequest("")))
			var b []byte
			res, err := http.ReadResponse(p.r, nil)
			if err == nil {
				wantStatus(t, res, 403)
				b, err = io.ReadAll(res.Body)
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %v after %d bytes; want an unexpected end", err, len(b))
			}
			if len(b) > maxRefusal {
				t.Errorf("body = %d bytes; want at most %d", len(b), maxRefusal)
			}
			io.Copy(io.Discard, p.r)
			eventually(t, "the slot to be released", func() bool { return d.limiter.Len() == 0 })
		})
	}
}

// Frames that come with the 101, or with interim answers before it, are the
// first to be relayed.
func TestFramesBehindTheAnswer(t *testing.T) {
	big := string(rawFrame(0x80|opBinary, strings.Repeat("b", 100_000), false))
	for name, answer := range map[string]string{
		"one segment":      handshakeAnswer("") + "\x81\x02hi" + big,
		"content length":   handshakeAnswer("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n") + "\x81\x02hi" + big,
		"interim":          "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + handshakeAnswer("") + "\x81\x02hi" + big,
		"head of 60 kB":    handshakeAnswer("X-Long: "+strings.Repeat("x", 60_000)+"\r\n") + "\x81\x02hi" + big,
		"the other's case": strings.NewReplacer("Upgrade: websocket", "UPGRADE: WebSocket", "Connection: Upgrade", "connection: keep-alive, upgrade").Replace(handshakeAnswer("")) + "\x81\x02hi" + big,
	} {
		t.Run(name, func(t *testing.T) {
			d, rec := doorTo(t, says(answer))
			p, res := d.ask(handshakeRequest(""))
			wantStatus(t, res, 101)
			if got := res.Header["Content-Length"]; got != nil {
				t.Errorf("Content-Length = %q; want none", got)
			}
			p.want(0x80|opText, "hi")
			p.want(0x80|opBinary, strings.Repeat("b", 100_000))
			f := p.frame(0x80|opText, "up")
			p.send(f)
			eventually(t, "the frame", func() bool {
				return strings.HasSuffix(rec.list()[0].got.String(), string(f))
			})
			p.conn.Close()
		})
	}
}

func TestPathReplaced(t *testing.T) {
	rec := record(listen(t), says("HTTP/1.1 204 No Content\r\n\r\n"))
	d := newDoor(t, Upstream{URL: "ws://" + rec.addr + "/app"}, "/chat")
	d.ask(strings.Replace(handshakeRequest(""), "/chat?room=1", "/chat/a%2f%41|?room=1", 1))
	d.ask(strings.Replace(handshakeRequest(""), "/chat?room=1", "/chat?", 1))
	d.ask("GET /chat/a%2f%41|?room=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	d.raw.Backend.Close()
	got := strings.Join(rec.all(t, 3), "")
	for _, want := range []string{"GET /app/a%2f%41%7C?room=1 HTTP/1.1\r\nHost: example.com\r\n", "GET /app? HTTP/1.1\r\n", "GET /app/a%2f%41%7C?room=1 HTTP/1.1\r\nHost: a\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("backend got %q; want %q among it", got, want)
		}
	}
}
