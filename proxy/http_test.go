package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
	"time"
)

// asWas is a plain request that closes its connection.
func asWas(line, header string) string {
	return line + " HTTP/1.1\r\nHost: Example.com:81\r\nConnection: close\r\n" + header + "\r\n"
}

// ended closes the kept connections and returns what the one connection got.
func (d *door) ended(rec *recorder) string {
	d.t.Helper()
	eventually(d.t, "the answer to be done", func() bool { d.raw.Backend.Close(); return closed(rec) })
	return rec.all(d.t, 1)[0]
}

func closed(rec *recorder) bool {
	for _, v := range rec.list() {
		select {
		case <-v.over:
		default:
			return false
		}
	}
	return true
}

func TestPlainRequestReachesBackendAsItWas(t *testing.T) {
	for _, line := range []string{
		"GET /", "POST /a?b=c;d&%zz&&", "DELETE //evil.example/x", "PROPFIND /a%2Fb/%41/../%2e%2e/;p?", "OPTIONS /x", "PATCH /a%2fb|c?|", "TRACE /", "MKCOL /a+b",
	} {
		d, rec := doorTo(t, says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
		_, res := d.ask(asWas(line, "Cookie: a\r\nX-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX_Sidecar_Session: x\r\nX-Sidecar-Session: x\r\n"+
			"X-Auth: 1\r\nX-Hop: 1\r\nConnection: X-Hop, X-Forwarded-For, X-Forwarded-Proto\r\nTE: trailers\r\nProxy-Authorization: x\r\nHTTP2-Settings: x\r\nAccept-Encoding: br\r\n"))
		if body := bodyOf(t, res); res.StatusCode != 200 || body != "ok" {
			t.Errorf("%s: answer = %d %q; want 200 ok", line, res.StatusCode, body)
		}
		got := d.ended(rec)
		want := strings.Replace(line, "|c", "%7Cc", 1) + " HTTP/1.1\r\nHost: Example.com:81\r\n"
		if !strings.HasPrefix(got, want) {
			t.Errorf("backend got %q; want it to begin %q", got, want)
		}
		h := headersOf(t, got).Header
		for key, want := range map[string]string{
			"Cookie": "a", "X-Auth": "1", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http",
			"X-Forwarded-Host": "Example.com:81", "Accept-Encoding": "br",
		} {
			wantHeader(t, h, key, want)
			h.Del(key)
		}
		if h.Del("Content-Length"); len(h) > 0 { // of 0, which net/http adds to methods that may have a body
			t.Errorf("%s: backend also got %q; want nothing more", line, h)
		}
	}
}

func TestPlainAnswers(t *testing.T) {
	gzipped := "\x1f\x8b\x08\x00rubbish"
	for _, c := range []struct {
		name, line, answer string
		status             int
		header             http.Header
		body               string
	}{
		{"HEAD", "HEAD /", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", 200, http.Header{"Content-Length": {"1234"}}, ""},
		{"304", "GET /", "HTTP/1.1 304 Not Modified\r\nEtag: \"x\"\r\n\r\n", 304, http.Header{"Etag": {`"x"`}}, ""},
		{"204", "GET /", "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", 204, http.Header{"X-A": {"b"}}, ""},
		{"redirect", "GET /", "HTTP/1.1 302 Found\r\nLocation: http://other/\r\nContent-Length: 0\r\n\r\n", 302, http.Header{"Location": {"http://other/"}}, ""},
		{"gzip", "GET /", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(gzipped), gzipped), 200, http.Header{"Content-Encoding": {"gzip"}}, gzipped},
		{"no type", "GET /", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", 200, http.Header{"Content-Type": nil}, "<html>"},
		{"hop-by-hop", "GET /", "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nProxy-Authenticate: x\r\nContent-Length: 1\r\n\r\nx", 200,
			http.Header{"X-Hop": nil, "Keep-Alive": nil, "Upgrade": nil, "Proxy-Authenticate": nil}, "x"},
		{"cookies", "GET /", "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n", 200, http.Header{"Set-Cookie": {"a=1", "b=2"}}, ""},
		{"to the end", "GET /", "HTTP/1.1 200 OK\r\n\r\nto the end", 200, nil, "to the end"},
		{"own 5xx", "GET /", "HTTP/1.1 599 Odd\r\nContent-Length: 1\r\n\r\nx", 599, nil, "x"},
		{"status 099", "GET /", "HTTP/1.1 099 What\r\nContent-Length: 0\r\n\r\n", 502, nil, "the backend cannot be reached\n"},
		{"no HTTP", "GET /", "SSH-2.0-x\r\n\r\n", 502, nil, "the backend cannot be reached\n"},
		{"closed at once", "POST /", "", 502, nil, "the backend cannot be reached\n"},
		{"head of 1 MB", "GET /", "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", 502, nil, "the backend cannot be reached\n"},
	} {
		d, _ := doorTo(t, func(v *visit) { v.say(c.answer); v.Close() })
		p := dialPeer(t, d.addr)
		p.send([]byte(asWas(c.line, "")))
		res, err := http.ReadResponse(p.r, &http.Request{Method: strings.Fields(c.line)[0]})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		wantStatus(t, res, c.status)
		for key, want := range c.header {
			wantHeader(t, res.Header, key, want...)
		}
		if got := bodyOf(t, res); got != c.body {
			t.Errorf("%s: body = %q; want %q", c.name, got, c.body)
		}
	}
}

func TestInterimAnswersAndTrailersPass(t *testing.T) {
	d, rec := doorTo(t, func(v *visit) {
		v.say("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
		v.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Late: 2\r\n\r\n")
	})
	p := dialPeer(t, d.addr)
	p.send([]byte(asWas("POST /", "Transfer-Encoding: chunked\r\nTrailer: X-Forwarded-For\r\n") + "2\r\nup\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"))
	if early := p.head(); !strings.HasPrefix(early, "HTTP/1.1 103 ") || !strings.Contains(early, "Link: </a.css>\r\n") {
		t.Errorf("first answer = %q; want 103 with its link", early)
	}
	res := p.answer()
	wantStatus(t, res, 200)
	wantHeader(t, res.Header, "Link")
	if got := bodyOf(t, res); got != "ok" {
		t.Errorf("body = %q; want ok", got)
	}
	wantHeader(t, res.Trailer, "X-Sum", "1")
	wantHeader(t, res.Trailer, "X-Late", "2")
	// Those of a request could pass for headers.
	if got := d.ended(rec); !strings.HasSuffix(got, "2\r\nup\r\n0\r\n\r\n") || strings.Contains(got, "Trailer") {
		t.Errorf("backend got %q; want the body and no trailer", got)
	}
}

// Each part arrives before the next one is sent, both ways at once, although the
// answer begins while the request lasts.
func TestBodiesAreNotHeldBack(t *testing.T) {
	d, rec := doorTo(t, func(v *visit) {
		v.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		body := bufio.NewReader(httputil.NewChunkedReader(v.r))
		for {
			line, err := body.ReadString('\n')
			if err != nil {
				break
			}
			fmt.Fprintf(v, "%x\r\n%s\r\n", len(line), line)
		}
		v.say("0\r\n\r\n")
	})
	p, res := d.ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	wantStatus(t, res, 200)
	events := bufio.NewReader(res.Body)
	for i := range 50 {
		line := fmt.Sprintf("data: %d\n", i)
		p.send(fmt.Appendf(nil, "%x\r\n%s\r\n", len(line), line))
		if got, err := events.ReadString('\n'); got != line {
			t.Fatalf("event = %q, %v; want %q", got, err, line)
		}
	}
	p.send([]byte("0\r\n\r\n"))
	if rest, err := io.ReadAll(events); len(rest) > 0 || err != nil {
		t.Errorf("the end = %q, %v; want the end", rest, err)
	}
	d.ended(rec)
}

// A backend may take its time, before its answer and within it.
func TestAnswerThatPauses(t *testing.T) {
	d, rec := doorTo(t, func(v *visit) {
		<-time.After(300 * time.Millisecond)
		v.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 2 {
			<-time.After(300 * time.Millisecond)
			v.say("4\r\ndata\r\n")
			<-time.After(300 * time.Millisecond)
		}
		v.say("0\r\n\r\n")
		v.Close()
	})
	d.plain.Limits.WriteTimeout = 100 * time.Millisecond
	p, res := d.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nup")
	if got := bodyOf(t, res); got != "datadata" {
		t.Errorf("body = %q; want datadata", got)
	}
	p.send([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")) // the connection is as good as before
	if got := bodyOf(t, p.answer()); got != "datadata" {
		t.Errorf("second body = %q; want datadata", got)
	}
	rec.all(t, 2)
}

// Only the client's slowness counts against it, not the backend's.
func TestBodyThatTheBackendTakesSlowly(t *testing.T) {
	const size = 16 << 20
	d, rec := doorTo(t, func(v *visit) {
		<-time.After(700 * time.Millisecond)
		n, _ := io.CopyN(io.Discard, v.r, size)
		fmt.Fprintf(v, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n%8d", n)
	})
	d.plain.Limits.WriteTimeout = 200 * time.Millisecond
	p := dialPeer(t, d.addr)
	go func() {
		io.WriteString(p.conn, asWas("PUT /", fmt.Sprintf("Content-Length: %d\r\n", size)))
		io.CopyN(p.conn, zeros{}, size)
	}()
	res := p.answer()
	if got, want := bodyOf(t, res), fmt.Sprintf("%8d", size); got != want {
		t.Errorf("answer = %d %q; want the backend to have read %s", res.StatusCode, got, want)
	}
	d.ended(rec)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestSlowBodyIsCut(t *testing.T) {
	for name, sent := range map[string]string{"length": "Content-Length: 100000\r\n\r\nab", "chunked": "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"} {
		d, rec := doorTo(t, nil)
		d.plain.Limits.WriteTimeout = 300 * time.Millisecond
		start := time.Now()
		p, res := d.ask("POST / HTTP/1.1\r\nHost: a\r\n" + sent)
		wantStatus(t, res, http.StatusRequestTimeout)
		if took := time.Since(start); took < 300*time.Millisecond || took > 3*time.Second {
			t.Errorf("%s: cut after %v; want 300ms and little more", name, took)
		}
		p.wantEnd()
		if got := rec.all(t, 1)[0]; strings.HasSuffix(got, "\r\n0\r\n\r\n") {
			t.Errorf("%s: backend got %q; want it not to look whole", name, got)
		}
	}
}

func TestClientThatTakesNothingIsCut(t *testing.T) {
	for name, head := range map[string]string{"length": fmt.Sprintf("Content-Length: %d", 1<<30), "to the end": "X-A: b"} {
		d, rec := doorTo(t, func(v *visit) {
			v.say("HTTP/1.1 200 OK\r\n" + head + "\r\n\r\n")
			io.CopyN(v, zeros{}, 1<<30)
		})
		d.plain.Limits.WriteTimeout = 300 * time.Millisecond
		d.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		start := time.Now()
		rec.all(t, 1) // ends although the client is there
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: cut after %v; want little more than 300ms", name, took)
		}
	}
}

// A client that asks on and on and reads no answer holds nothing either.
func TestClientThatTakesNoHeadsIsCut(t *testing.T) {
	d, _ := doorTo(t, func(v *visit) {
		for v.head != "" {
			v.say("HTTP/1.1 204 No Content\r\nX-A: " + strings.Repeat("a", 30_000) + "\r\n\r\n")
			v.head = (&peer{r: v.r}).head()
		}
	})
	d.plain.Limits.WriteTimeout = 300 * time.Millisecond
	p := dialPeer(t, d.addr)
	request := []byte(strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 100))
	start := time.Now()
	for {
		if _, err := p.conn.Write(request); err != nil {
			break // it was cut
		}
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("cut after %v; want little more than 300ms after the buffers were full", took)
	}
}

func TestClientThatLeavesCancelsTheRequest(t *testing.T) {
	for name, answer := range map[string]func(v *visit){
		"before the answer": nil,
		"in its middle":     says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
	} {
		d, rec := doorTo(t, answer)
		p := dialPeer(t, d.addr)
		p.send([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
		if answer != nil {
			if _, err := io.ReadFull(p.answer().Body, make([]byte, 4)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		eventually(t, "the backend to be asked", func() bool { return len(rec.list()) == 1 })
		p.conn.Close()
		rec.all(t, 1)
		if s := d.log.String(); strings.Contains(s, "cannot be reached") {
			t.Errorf("%s: log = %s; want no complaint of the backend", name, s)
		}
	}
}

// An answer that its backend did not finish must not look whole.
func TestAnswerCutShort(t *testing.T) {
	for name, answer := range map[string]string{
		"length":     "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"chunked":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"in a chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
	} {
		d, _ := doorTo(t, func(v *visit) { v.say(answer); v.Close() })
		p := dialPeer(t, d.addr)
		p.send([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
		res, err := http.ReadResponse(p.r, nil)
		if err == nil {
			_, err = io.ReadAll(res.Body)
		}
		if err == nil {
			t.Errorf("%s: the answer looks whole; want an error", name)
		}
	}
}

func TestPlainUpgradeIsRefused(t *testing.T) {
	d, rec := doorTo(t, says("HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"))
	front := httptest.NewServer(d.plain)
	t.Cleanup(front.Close)
	for _, up := range []string{"h2c", "websocket", "", "\r\nUpgrade: h2c"} {
		p := dialPeer(t, front.Listener.Addr().String())
		p.send([]byte("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: " + up + "\r\n\r\n"))
		if res := p.answer(); res.StatusCode != 400 || !res.Close {
			t.Errorf("upgrade to %q: %d, closes %v; want 400 and closed", up, res.StatusCode, res.Close)
		}
	}
	if n := len(rec.list()); n > 0 {
		t.Errorf("backend saw %d connections; want none", n)
	}
}

// However soon the body follows the head.
func TestNoTypeIsGuessed(t *testing.T) {
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paced := &pacedWriter{ResponseWriter: w, rc: http.NewResponseController(w), limit: time.Minute}
		paced.WriteHeader(http.StatusOK)
		io.WriteString(paced, "<html>")
	}))
	t.Cleanup(front.Close)
	p := dialPeer(t, front.Listener.Addr().String())
	p.send([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	wantHeader(t, p.answer().Header, "Content-Type")
}
