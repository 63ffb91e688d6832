package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/access"
	"sidecar/heartbeat"
	"sidecar/session"
)

// dialOnce has a backend answer one handshake with the given bytes, and returns
// what it was asked.
func dialOnce(t *testing.T, a Ask, limits Limits, answer func(key string) string) (asked *http.Request, l *Link, err error) {
	t.Helper()
	d := &stageDoor{t: t, ln: listen(t)}
	got := make(chan *http.Request, 1)
	go func() {
		c, err := d.ln.Accept()
		if err != nil {
			return
		}
		p := newPeer(t, c, false)
		r, err := http.ReadRequest(p.r)
		if err != nil {
			return
		}
		io.WriteString(c, answer(acceptFor(r.Header.Get("Sec-Websocket-Key"))))
		got <- r
	}()
	b, err := NewBackend(Upstream{URL: d.url()}, "/")
	if err != nil {
		t.Fatal(err)
	}
	dialer := &Dialer{Backend: b, Live: &Live{}, Limits: limits}
	l, err = dialer.Dial(t.Context(), a)
	if l != nil {
		t.Cleanup(l.Drop)
	}
	return <-got, l, err
}

func askOf(method, target string, header http.Header) Ask {
	r := httptest.NewRequest(method, target, nil)
	for k, v := range header {
		r.Header[k] = v
	}
	return Ask{Request: r, Client: access.Proxies{}.Client(r), Session: "PUBLIC"}
}

// A Host beside :authority, as HTTP/2 lets a client send it, would be a second one
// for the backend, to which no rule was applied.
func TestDialNamesOneHost(t *testing.T) {
	a := askOf("GET", "http://a.test/", http.Header{"Host": {"evil.test"}})
	r := a.handshake(t.Context())
	m := newHead()
	defer m.free()
	m.ask(r, "/", nil, a.Client, a.Session)
	if got := string(m.b); strings.Count(got, "Host: a.test\r\n") != 2 || strings.Contains(got, "evil") {
		t.Errorf("head = %q; want a.test in Host and X-Forwarded-Host, and no other", got)
	}
}

func yes(header string) func(string) string {
	return func(accept string) string {
		return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + "\r\n" + header + "\r\n"
	}
}

func TestDialAsksAsAClientWould(t *testing.T) {
	a := askOf("POST", "/engine.io/?sid=1", http.Header{
		"Content-Type": {"text/plain"}, "Cookie": {"a=b"}, "Authorization": {"secret"}, "Sec-Fetch-Site": {"same-origin"},
		"Connection": {"keep-alive, X-Hop"}, "X-Hop": {"1"}, "X-Sidecar-Session": {"forged"}, "Sec-Websocket-Extensions": {"permessage-deflate"},
		"Accept": {"*/*"}, "Range": {"bytes=0-1"},
	})
	a.Target = &url.URL{Path: "/a/b", RawPath: "/a%2fb", RawQuery: "room=1"}
	a.Client.Scheme, a.Client.Host = "https", "example.com"
	a.Subprotocols = []string{"chat", "superchat"}
	r, l, err := dialOnce(t, a, Limits{}, yes("Set-Cookie: x=1\r\nSet-Cookie: y=2\r\nSec-WebSocket-Protocol: chat\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Cookie": "a=b", "Authorization": "secret", "Origin": "https://example.com", "X-Sidecar-Session": "PUBLIC",
		"Sec-Websocket-Protocol": "chat, superchat", "Content-Type": "", "X-Hop": "", "Sec-Websocket-Extensions": "", "Accept": "", "Range": "",
	} {
		if got := strings.Join(r.Header.Values(name), "|"); got != want {
			t.Errorf("backend saw %s = %q; want %q", name, got, want)
		}
	}
	if r.Method != "GET" || r.RequestURI != "/a%2fb?room=1" || r.Host != "example.com" {
		t.Errorf("backend saw %s %s of %s", r.Method, r.RequestURI, r.Host)
	}
	if got := l.Header["Set-Cookie"]; len(got) != 2 || l.Header.Get("Sec-Websocket-Protocol") != "chat" {
		t.Errorf("header of the yes = %v", l.Header)
	}
}

func TestDialPassesARefusalOn(t *testing.T) {
	_, _, err := dialOnce(t, askOf("GET", "/", nil), Limits{}, func(string) string {
		return "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nSet-Cookie: a=1\r\nConnection: X-Hop\r\nX-Hop: 1\r\nContent-Length: 3\r\n\r\nno!"
	})
	var no *Refused
	if !errors.As(err, &no) {
		t.Fatalf("error = %v; want a refusal", err)
	}
	w := httptest.NewRecorder()
	no.ServeHTTP(w, nil)
	if w.Code != 401 || w.Body.String() != "no!" || w.Header().Get("Set-Cookie") != "a=1" || w.Header().Get("X-Hop") != "" {
		t.Errorf("client gets %d %q %v", w.Code, w.Body, w.Header())
	}
}

func TestDialFails(t *testing.T) {
	quick := Limits{DialTimeout: 200 * time.Millisecond}
	for _, c := range []struct {
		name   string
		answer string
		status int
	}{
		{"wrong accept", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n", 502},
		{"another protocol", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", 502},
		{"endless head", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: yyyyyyyyyyyyyyyyyyyyy\r\n", 4000), 502},
		{"endless body", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("y", 1<<20+1), 502},
		{"no answer", "", 504},
		{"half an answer", "HTTP/1.1 101 Swi", 504},
	} {
		_, _, err := dialOnce(t, askOf("GET", "/", nil), quick, func(string) string { return c.answer })
		var failed *Failure
		if !errors.As(err, &failed) || failed.Status != c.status {
			t.Errorf("%s: error = %v; want a failure with %d", c.name, err, c.status)
		}
	}
	for _, extra := range []string{"Sec-WebSocket-Extensions: permessage-deflate\r\n", "Sec-WebSocket-Protocol: unasked\r\n"} {
		_, _, err := dialOnce(t, askOf("GET", "/", nil), quick, yes(extra))
		var failed *Failure
		if !errors.As(err, &failed) || failed.Status != 502 {
			t.Errorf("%q: error = %v; want a failure with 502", extra, err)
		}
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	d := &stageDoor{t: t, ln: listen(t)}
	b, err := NewBackend(Upstream{URL: d.url()}, "/")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(errors.New("left")) })
	_, err = (&Dialer{Backend: b, Live: &Live{}}).Dial(ctx, askOf("GET", "/", nil))
	if err == nil || !strings.HasSuffix(err.Error(), "left") {
		t.Errorf("error = %v; want the context's cause", err)
	}
}

// What comes right behind the backend's yes is delivered.
func TestEarlyMessageIsDelivered(t *testing.T) {
	_, l, err := dialOnce(t, askOf("GET", "/", nil), Limits{}, func(accept string) string {
		return yes("")(accept) + string(rawFrame(0x80|opText, "early", false)) + string(rawFrame(0x80|opClose, "\x0f\xa1", false))
	})
	if err != nil {
		t.Fatal(err)
	}
	all, set := session.Sessions{}, session.Default()
	s, err := all.Open(session.Opening{Settings: &set, Backend: l})
	if err != nil {
		t.Fatal(err)
	}
	woken := make(chan struct{}, 1)
	r, err := s.Attach(func() { woken <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	l.Start(s)
	var got []session.Message
	for {
		b, err := r.Take(nil, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, b.Messages...); b.Close != nil {
			if b.Close.Code != 4001 {
				t.Errorf("close = %v; want 4001", *b.Close)
			}
			break
		}
		if len(b.Messages) == 0 {
			<-woken
		}
	}
	if len(got) != 1 || string(got[0].Data) != "early" {
		t.Errorf("delivered %v; want early", got)
	}
}

// The clocks of a hop, over a pipe in a bubble: probed after the interval, lost
// after the timeout and a second look, cut when the answer does not come.
func TestHopByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pipe()
		l := &Link{live: &Live{}}
		l.hop.init(near, newTerms(backend, beatingPolicy, Limits{}, nil))
		if err := l.hop.adopt(); err != nil {
			t.Fatal(err)
		}
		all, set := session.Sessions{}, session.Default()
		s, err := all.Open(session.Opening{Settings: &set, Backend: l})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := s.Attach(func() {}); err != nil {
			t.Fatal(err)
		}
		l.Start(s)
		b, err := io.ReadAll(far) // to the end
		if err != nil {
			t.Error(err)
		}
		took := time.Since(start)
		if most := beatingPolicy.Interval + beatingPolicy.Timeout + secondLook + closeGrace; took > most || took < most-beatingPolicy.Interval/2 {
			t.Errorf("silent backend was cut after %v; want %v, less up to half an interval", took, most)
		}
		if ping, closing := b[0], b[len(b)-6-19]; ping != 0x80|opPing || closing != 0x80|opClose {
			t.Errorf("silent backend was sent % x; want a ping and a close", b)
		}
		s.End(session.Left, session.Close{Code: codeGoingAway})
	})
}

var beatingPolicy = heartbeat.Policy{Interval: 20 * time.Second, Timeout: 10 * time.Second}

func pipe() (near, far net.Conn) { return net.Pipe() }

// While the session has no room the backend is not read: that is no silence of its.
func TestPausedBackendIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pipe()
		l := &Link{live: &Live{}}
		l.hop.init(near, newTerms(backend, beatingPolicy, Limits{}, nil))
		if err := l.hop.adopt(); err != nil {
			t.Fatal(err)
		}
		all, set := session.Sessions{}, session.Default()
		set.Window = 4096
		s, err := all.Open(session.Opening{Settings: &set, Backend: l})
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Attach(func() {})
		if err != nil {
			t.Fatal(err)
		}
		l.Start(s)
		payload := strings.Repeat("x", 4096)
		go func() {
			far.Write(rawFrame(0x80|opText, payload, false))
			far.Write(rawFrame(0x80|opText, "next", false))
			io.Copy(io.Discard, far)
		}()
		time.Sleep(10 * time.Minute)
		b, err := r.Take(nil, 1<<20)
		if err != nil || len(b.Messages) != 1 || b.Close != nil {
			t.Fatalf("after ten minutes: %d messages, %v, %v; want the one that filled the window", len(b.Messages), b.Close, err)
		}
		s.Ack(b.Last())
		synctest.Wait()
		if b, err = r.Take(nil, 1<<20); err != nil || len(b.Messages) != 1 || string(b.Messages[0].Data) != "next" {
			t.Errorf("then %d messages, %v; want the next", len(b.Messages), err)
		}
		s.End(session.Left, session.Close{Code: codeGoingAway})
		time.Sleep(2 * closeGrace)
		if n := l.live.Len(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}
