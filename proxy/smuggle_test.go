package proxy

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"sidecar/access"
)

// Requests that are refused before the backend hears of anything. A second
// request hides in many of them; where it counts as one it is passed on as plain
// HTTP, so the backend must not have been contacted at all.
func TestRefusedBeforeTheBackend(t *testing.T) {
	const admin = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
	good := handshakeRequest("")
	edit := func(from, to string) string { return strings.Replace(good, from, to, 1) }
	add := func(header string) string { return handshakeRequest(header) }
	for _, c := range []struct {
		name, request string
		status        int
	}{
		{"h2c", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + admin, 400},
		{"h2c and websocket", edit("Upgrade: websocket", "Upgrade: h2c, websocket"), 400},
		{"websocket and h2c", edit("Upgrade: websocket", "Upgrade: websocket, h2c"), 400},
		{"two upgrades", add("Upgrade: h2c\r\n"), 400},
		{"websocket twice", add("Upgrade: websocket\r\n"), 400},
		{"empty upgrade", edit("Upgrade: websocket", "Upgrade:"), 400},
		{"websocket/13", edit("Upgrade: websocket", "Upgrade: websocket/13"), 400},
		{"upgrade not in Connection", edit("Connection: Upgrade", "Connection: keep-alive"), 400},
		{"no Connection", edit("Connection: Upgrade\r\n", ""), 400},
		{"version 1337", edit("Version: 13", "Version: 1337"), 426},
		{"version 8", edit("Version: 13", "Version: 8"), 426},
		{"version 013", edit("Version: 13", "Version: 013"), 426},
		{"version list", edit("Version: 13", "Version: 13, 8"), 426},
		{"no version", edit("Sec-WebSocket-Version: 13\r\n", ""), 426},
		{"version twice", add("Sec-WebSocket-Version: 13\r\n"), 426},
		{"no key", edit("Sec-WebSocket-Key: "+testKey+"\r\n", ""), 400},
		{"two keys", add("Sec-WebSocket-Key: " + testKey + "\r\n"), 400},
		{"short key", edit(testKey, "dGhlIHNhbXBsZQ=="), 400},
		{"key that is no base64", edit(testKey, "dGhlIHNhbXBsZSBub25j!Q=="), 400},
		{"POST", edit("GET", "POST"), 405},
		{"HTTP/1.0", edit("HTTP/1.1", "HTTP/1.0"), 400},
		{"body", add(fmt.Sprintf("Content-Length: %d\r\n", len(admin))) + admin, 400},
		{"body of 31", add("Content-Length: 31\r\n") + "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"chunked body", add("Transfer-Encoding: chunked\r\n") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(admin), admin), 400},
		{"empty chunked body", add("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n" + admin, 400},
		{"length and chunked", add("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n" + admin, 400},
		{"two lengths", add("Content-Length: 5\r\nContent-Length: 6\r\n") + admin, 400},
		{"length with a sign", add("Content-Length: +5\r\n") + admin, 400},
		{"encoding of another kind", add("Transfer-Encoding: xchunked\r\n") + admin, 501},
		{"space before the colon", edit("Upgrade: websocket", "Upgrade : websocket"), 400},
		{"folded header", edit("Upgrade: websocket", "Upgrade:\r\n websocket\r\nX-A: b"), -1},
		{"bare CR", add("X-A: b\rX-C: d\r\n"), 400},
		{"absolute", edit("GET /chat", "GET http://169.254.169.254/chat"), 400},
		{"absolute, another scheme", edit("GET /chat", "GET ws://169.254.169.254/chat"), 400},
		{"no path", edit("GET /chat?room=1", "GET *"), 400},
		{"opaque", edit("GET /chat", "GET evil:/chat"), 400},
		{"two hosts", add("Host: evil\r\n"), 400},
		{"no host", edit("Host: example.com\r\n", ""), 400},
		{"NUL in a subprotocol", add("Sec-WebSocket-Protocol: a\x00b\r\n"), 400},
		{"NUL in a cookie", add("Cookie: a=\x00\r\n"), 400},
		{"LF in a subprotocol", add("Sec-WebSocket-Protocol: a\nb\r\n"), 400},
		{"100 kB of subprotocols", add("Sec-WebSocket-Protocol: a" + strings.Repeat(",b", 50_000) + "\r\n"), 431},
		{"100 kB of extensions", add("Sec-WebSocket-Extensions: " + strings.Repeat("x;", 50_000) + "\r\n"), 431},
		{"100 kB of cookies", add("Cookie: a=" + strings.Repeat("b", 100_000) + "\r\n"), 431},
		{"10,000 headers", add(strings.Repeat("X-A: b\r\n", 10_000)), 431},
		{"CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 31\r\n\r\n" + admin, 405},
		{"CONNECT of a path", "CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n" + admin, 405},
		{"CONNECT that upgrades", edit("GET", "CONNECT"), 405},
		{"plain, absolute", "GET http://169.254.169.254/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"plain, OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"plain, two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 31\r\n\r\n" + admin, 400},
		{"plain, space before the colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 31\r\n\r\n" + admin, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, rec := doorTo(t, says(handshakeAnswer("")))
			p := dialPeer(t, d.addr)
			go p.conn.Write([]byte(c.request)) // 431 may come before all is sent
			if c.status < 0 {
				// net/http joins folded lines, as RFC 9112 §5.2 allows.
				wantStatus(t, p.answer(), 101)
				p.conn.Close()
				if got := rec.all(t, 1)[0]; !strings.Contains(got, "\r\nUpgrade: websocket\r\n") {
					t.Errorf("backend got %q; want no fold in it", got)
				}
				return
			}
			res := p.answer()
			wantStatus(t, res, c.status)
			if !res.Close {
				t.Errorf("the connection stays open after %d; want it closed", res.StatusCode)
			}
			if c.status == 426 {
				wantHeader(t, res.Header, "Sec-WebSocket-Version", "13")
			}
			io.Copy(io.Discard, p.r) // to the end, so that what hides in it would have been served
			if got := rec.list(); len(got) > 0 {
				t.Errorf("backend saw %d connections, %q; want none", len(got), got[0].got.String())
			}
		})
	}
}

// Bytes behind the handshake, in its segment, are nobody's.
func TestEarlyDataEndsTheConnection(t *testing.T) {
	for name, early := range map[string]string{
		"request": "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
		"frame":   string(rawFrame(0x80|opText, "early", true)),
		"byte":    "x",
	} {
		d, rec := doorTo(t, says(handshakeAnswer("")))
		p := dialPeer(t, d.addr)
		p.send([]byte(handshakeRequest("") + early))
		if b, _ := io.ReadAll(p.r); len(b) > 0 {
			t.Errorf("%s: client got %q; want nothing", name, b)
		}
		if got := rec.all(t, 1)[0]; !strings.HasSuffix(got, "\r\n\r\n") || strings.Count(got, "\r\n\r\n") != 1 {
			t.Errorf("%s: backend got %q; want the handshake only", name, got)
		}
	}
}

// An answer that does not switch to WebSocket makes no tunnel, whatever it says.
func TestNoTunnelWithoutTrueSwitch(t *testing.T) {
	good := handshakeAnswer("")
	accept := "Sec-WebSocket-Accept: " + acceptFor(testKey)
	edit := func(from, to string) string { return strings.Replace(good, from, to, 1) }
	offer := "Sec-WebSocket-Protocol: chat, talk, sidecar.resume.v1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
	for _, c := range []struct {
		name, answer string
		status       int
	}{
		{"200 with upgrade", edit("101 Switching Protocols", "200 OK") + "", 200},
		{"426 that stays", "HTTP/1.1 426 Upgrade Required\r\nUpgrade: h2c\r\nConnection: keep-alive, Upgrade\r\nContent-Length: 0\r\n\r\n", 426},
		{"another protocol", edit("Upgrade: websocket", "Upgrade: foo"), 502},
		{"one more protocol", edit("Upgrade: websocket", "Upgrade: websocket, foo"), 502},
		{"two upgrades", handshakeAnswer("Upgrade: foo\r\n"), 502},
		{"no upgrade", edit("Upgrade: websocket\r\n", ""), 502},
		{"no connection", edit("Connection: Upgrade\r\n", ""), 502},
		{"connection of another kind", edit("Connection: Upgrade", "Connection: close"), 502},
		{"wrong accept", edit(accept, "Sec-WebSocket-Accept: "+acceptFor("AAAAAAAAAAAAAAAAAAAAAA==")), 502},
		{"no accept", edit(accept+"\r\n", ""), 502},
		{"two accepts", handshakeAnswer(accept + "\r\n"), 502},
		{"accept and rubbish", edit(accept, accept+", x"), 502},
		{"subprotocol not offered", handshakeAnswer("Sec-WebSocket-Protocol: other\r\n"), 502},
		{"subprotocol of ours", handshakeAnswer("Sec-WebSocket-Protocol: sidecar.resume.v1\r\n"), 502},
		{"two subprotocols", handshakeAnswer("Sec-WebSocket-Protocol: chat, talk\r\n"), 502},
		{"two lines of subprotocols", handshakeAnswer("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: talk\r\n"), 502},
		{"extension not offered", handshakeAnswer("Sec-WebSocket-Extensions: x-other\r\n"), 502},
		{"bad window", handshakeAnswer("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7\r\n"), 502},
		{"no HTTP", "SSH-2.0-OpenSSH\r\n\r\n", 502},
		{"status of two digits", "HTTP/1.1 99 What\r\n\r\n", 502},
		{"status 099", "HTTP/1.1 099 What\r\n\r\n", 502},
		{"header without colon", "HTTP/1.1 101 S\r\nGET /x HTTP/1.1\r\n\r\n", 502},
		{"header name with LF", edit("Upgrade:", "X-A\n Upgrade:"), 502},
		{"head of 1 MB", handshakeAnswer("X-A: " + strings.Repeat("a", 1<<20) + "\r\n"), 502},
		{"endless interim answers", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 1000) + good, 502},
		{"closed at once", "", 502},
		{"cut in the head", good[:len(good)-2], 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, rec := doorTo(t, func(v *visit) {
				v.say(c.answer)
				if c.answer == "" || c.name == "cut in the head" || strings.HasPrefix(c.answer, "HTTP/1.1 200") {
					v.Close()
				}
			})
			d.plain = nil // what follows is no business of the backend's
			p, res := d.ask(handshakeRequest(offer))
			wantStatus(t, res, c.status)
			wantHeader(t, res.Header, "Upgrade")
			io.Copy(io.Discard, res.Body)
			eventually(t, "the slot to be released", func() bool { return d.limiter.Len() == 0 })
			p.conn.Write([]byte("GET /admin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
			io.Copy(io.Discard, p.r)
			if got := rec.all(t, 1)[0]; strings.Contains(got, "admin") || !strings.HasPrefix(got, "GET /chat?room=1 ") {
				t.Errorf("backend got %q; want the handshake only", got)
			}
			if d.seen.has("opened") || d.seen.has("dialed ok") {
				t.Errorf("events = %q; want nothing opened", d.seen.events)
			}
		})
	}
}

// A switch that nobody asked for is no tunnel either.
func TestUnaskedSwitchOfPlainRequest(t *testing.T) {
	for _, answer := range []string{
		handshakeAnswer(""), "HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "HTTP/1.1 101 S\r\n\r\n",
	} {
		d, rec := doorTo(t, says(answer))
		p, res := d.ask("GET /page HTTP/1.1\r\nHost: a\r\n\r\n")
		wantStatus(t, res, 502)
		bodyOf(t, res)
		d.plain = nil
		p.conn.Write([]byte("GET /admin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
		io.Copy(io.Discard, p.r)
		if got := rec.all(t, 1)[0]; strings.Contains(got, "admin") {
			t.Errorf("after %q backend got %q; want the first request only", answer, got)
		}
	}
}

func TestBackendThatDoesNotAnswer(t *testing.T) {
	trickle := func(v *visit) {
		for _, b := range []byte("HTTP/1.1 101 Switching Protocols\r\nX-A: " + strings.Repeat("a", 1000)) {
			if _, err := v.Write([]byte{b}); err != nil {
				return
			}
			<-time.After(20 * time.Millisecond)
		}
	}
	for name, answer := range map[string]func(v *visit){"silent": nil, "trickle": trickle, "interim only": says("HTTP/1.1 102 P\r\n\r\n"), "half a line": says("HTTP/1.1 101 Swi"), "half a header": says("HTTP/1.1 101 S\r\nX")} {
		d, rec := doorTo(t, answer)
		d.raw.Limits.DialTimeout = 300 * time.Millisecond
		start := time.Now()
		_, res := d.ask(handshakeRequest(""))
		wantStatus(t, res, http.StatusGatewayTimeout)
		if took := time.Since(start); took < 300*time.Millisecond || took > 3*time.Second {
			t.Errorf("%s: answered after %v; want 300ms and little more", name, took)
		}
		if rec.all(t, 1); !d.seen.has("dialed timeout") {
			t.Errorf("%s: events = %q; want dialed timeout", name, d.seen.events)
		}
		eventually(t, "the slot to be released", func() bool { return d.limiter.Len() == 0 })
	}
}

func TestBackendThatIsNotThere(t *testing.T) {
	ln := listen(t)
	ln.Close()
	d := newDoor(t, Upstream{URL: "ws://" + ln.Addr().String()}, "/")
	for _, request := range []string{handshakeRequest(""), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"} {
		_, res := d.ask(request)
		wantStatus(t, res, http.StatusBadGateway)
		if body := bodyOf(t, res); strings.Contains(body, "127.0.0.1") {
			t.Errorf("body = %q; want no address of the backend", body)
		}
	}
}

// A client that leaves while the backend is asked leaves nothing behind, and one
// that only ends its sending is not told of a success.
func TestClientLeavesMeanwhile(t *testing.T) {
	d, rec := doorTo(t, nil)
	d.raw.Limits.DialTimeout = time.Hour
	before := runtime.NumGoroutine()
	const n = 50
	var peers []*peer
	for range n {
		p := dialPeer(t, d.addr)
		p.send([]byte(handshakeRequest("")))
		peers = append(peers, p)
	}
	eventually(t, "all to be asked", func() bool { return len(rec.list()) == n && d.limiter.Len() == n })
	for i, p := range peers {
		switch i % 3 {
		case 0:
			p.reset()
		case 1:
			p.conn.Close()
		default:
			p.conn.CloseWrite()
			if b, _ := io.ReadAll(p.r); len(b) > 0 {
				t.Errorf("client that half-closed got %q; want nothing", b)
			}
		}
	}
	rec.all(t, n)
	eventually(t, "the slots to be released", func() bool { return d.limiter.Len() == 0 })
	eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	if !d.seen.has("dialed canceled") || d.seen.has("dialed timeout") {
		t.Errorf("events = %q; want dialed canceled only", d.seen.events)
	}
}

func TestAccessRefusesBeforeTheBackend(t *testing.T) {
	off := access.Limits{Connections: -1, PerAddress: -1, HandshakesPerSecond: -1}
	for _, c := range []struct {
		name, header string
		limit        func(l *access.Limits)
		status       int
		text, reason string
	}{
		{"origin", "Origin: https://evil.example\r\n", nil, 403, "(origins)", "origin"},
		{"null origin", "Origin: null\r\n", nil, 403, "(origins)", "origin"},
		{"two origins", "Origin: http://example.com\r\nOrigin: http://example.com\r\n", nil, 403, "(origins)", "origin"},
		{"connections", "", func(l *access.Limits) { l.Connections = 1 }, 503, "(limits.connections)", "connections"},
		{"per address", "", func(l *access.Limits) { l.PerAddress = 1 }, 429, "(limits.per_address)", "per_address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, rec := doorTo(t, says(handshakeAnswer("")))
			first, want := 0, 0
			limits := off
			if c.limit != nil {
				c.limit(&limits)
				first, want = 1, 101
			}
			d.limiter.Set(limits)
			for range first {
				_, res := d.ask(handshakeRequest(""))
				wantStatus(t, res, want)
			}
			p, res := d.ask(handshakeRequest(c.header))
			wantStatus(t, res, c.status)
			if body := bodyOf(t, res); !strings.Contains(body, c.text) {
				t.Errorf("body = %q; want it to name %s", body, c.text)
			}
			if d.limiter.Len() != first || len(rec.list()) != first || !d.seen.has("refused "+c.reason) {
				t.Errorf("%d counted, %d at the backend, events %q; want %d and refused %s", d.limiter.Len(), len(rec.list()), d.seen.events, first, c.reason)
			}
			p.send([]byte(handshakeRequest(c.header))) // the connection may be used again
			wantStatus(t, p.answer(), c.status)
		})
	}
}

func TestHandshakeRateIsLimited(t *testing.T) {
	d, rec := doorTo(t, says("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"))
	d.limiter.Set(access.Limits{HandshakesPerSecond: 1})
	var last *http.Response
	for range 30 {
		if _, last = d.ask(handshakeRequest("")); last.StatusCode != 403 {
			break
		}
	}
	wantStatus(t, last, http.StatusTooManyRequests)
	wantHeader(t, last.Header, "Retry-After", "1")
	if body := bodyOf(t, last); !strings.Contains(body, "(limits.handshakes_per_second)") {
		t.Errorf("body = %q; want it to name limits.handshakes_per_second", body)
	}
	if n := len(rec.list()); n < 10 || n > 20 {
		t.Errorf("backend saw %d handshakes; want about the burst of 10", n)
	}
}

// Whatever framing a plain request hides another in, the backend sees what
// net/http made of it: one request for each that was checked.
func TestPlainRequestsKeepTheirFraming(t *testing.T) {
	const hidden = "GET /admin HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
	for name, c := range map[string]struct{ request, sent string }{
		"length and chunked": {
			"POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden),
			"\r\nTransfer-Encoding: chunked\r\n",
		},
		"Connection names the length": {
			fmt.Sprintf("POST /one HTTP/1.1\r\nHost: a\r\nConnection: Content-Length, close\r\nContent-Length: %d\r\n\r\n%s", len(hidden), hidden),
			fmt.Sprintf("\r\nContent-Length: %d\r\n", len(hidden)),
		},
		"Connection names the encoding": {
			"POST /one HTTP/1.1\r\nHost: a\r\nConnection: Transfer-Encoding, close\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden),
			"\r\nTransfer-Encoding: chunked\r\n",
		},
		"bare LF": {
			fmt.Sprintf("POST /one HTTP/1.1\nHost: a\nConnection: close\nContent-Length: %d\n\n%s", len(hidden), hidden),
			fmt.Sprintf("\r\nContent-Length: %d\r\n", len(hidden)),
		},
		"GET with a body": {
			fmt.Sprintf("GET /one HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(hidden), hidden),
			fmt.Sprintf("\r\nContent-Length: %d\r\n", len(hidden)),
		},
		"chunk extension": {
			"POST /one HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x;a=b\r\n%s\r\n0\r\n\r\n", len(hidden), hidden),
			"\r\nTransfer-Encoding: chunked\r\n",
		},
	} {
		d, rec := doorTo(t, func(v *visit) {
			r := headersOf(t, v.head) // its framing as a strict reader sees it
			switch {
			case strings.Contains(v.head, "\r\nTransfer-Encoding: chunked\r\n"):
				for line := ""; line != "0\r\n"; {
					line, _ = v.r.ReadString('\n')
				}
				v.r.ReadString('\n')
			default:
				io.CopyN(io.Discard, v.r, r.ContentLength)
			}
			v.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		})
		_, res := d.ask(c.request)
		wantStatus(t, res, 200)
		got := d.ended(rec)
		if !strings.HasPrefix(got, "POST /one HTTP/1.1\r\n") && !strings.HasPrefix(got, "GET /one HTTP/1.1\r\n") || !strings.Contains(got, c.sent) {
			t.Errorf("%s: backend got %q; want /one with %q", name, got, c.sent)
		}
		if strings.Contains(got, "Content-Length") && strings.Contains(got, "chunked") {
			t.Errorf("%s: backend got %q; want one framing", name, got)
		}
		if _, tail, found := strings.Cut(got, hidden); !found || strings.Trim(tail, "0\r\n") != "" {
			t.Errorf("%s: backend got %q; want the hidden request as the end of the body", name, got)
		}
	}
}
