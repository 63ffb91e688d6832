package acme

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// during calls do once an order has begun whose challenge is to be checked: the
// authority waits meanwhile. It returns what says that it was called.
func (a *authority) during(do func()) *atomic.Bool {
	var done atomic.Bool
	a.fail(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/chalZ/") && !done.Swap(true) {
			do()
		}
		return false
	})
	return &done
}

// token is that of the challenge for name under way, as the storage in dir has it.
func token(t testing.TB, dir, name string) (token, authorization string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "acme", "*", "challenge_tokens", name+".json"))
	if err != nil || len(files) != 1 {
		t.Errorf("the challenges under way are %q, %v; want one", files, err)
		return "", ""
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Error(err)
	}
	var c struct{ Token, KeyAuthorization string }
	if err := json.Unmarshal(text, &c); err != nil {
		t.Error(err)
	}
	return c.Token, c.KeyAuthorization
}

// raw sends text to addr and returns the status and all that is answered.
func raw(t testing.TB, addr, text string) (status, answer string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return "", ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(c, text)
	b, _ := io.ReadAll(c)
	fields := strings.Fields(string(b) + " - -")
	return fields[1], string(b)
}

// other is not s, by its first letter.
func other(s string) string {
	if s[0] == 'x' {
		return "y" + s[1:]
	}
	return "x" + s[1:]
}

// While a challenge is under way the plain listener answers it to whoever has its
// token and asks as the authority does, and to nobody else.
func TestChallengesAreAnsweredToNobodyElse(t *testing.T) {
	t.Parallel()
	a, dir := newAuthority(t, terms{}), t.TempDir()
	s := launch(t, serveEcho(t), a.settings(dir, "domains: [a.example.test], on_demand: {allow: [\"*.demand.test\"]}, challenges: [http-01]"))
	called := a.during(func() {
		tok, secret := token(t, dir, "a.example.test")
		if tok == "" || !strings.HasPrefix(secret, tok+".") {
			t.Errorf("the token is %q, and its answer %q", tok, secret)
			return
		}
		const at = "/.well-known/acme-challenge/"
		for name, c := range map[string]struct{ line, host, status string }{
			"the authority":        {"GET " + at + tok + " HTTP/1.1", "a.example.test", "200"},
			"in upper case":        {"GET " + at + tok + " HTTP/1.1", "A.EXAMPLE.test:80", "200"},
			"another token":        {"GET " + at + other(tok) + " HTTP/1.1", "a.example.test", "301"},
			"half the token":       {"GET " + at + tok[:10] + " HTTP/1.1", "a.example.test", "301"},
			"no token":             {"GET " + at + " HTTP/1.1", "a.example.test", "301"},
			"below the token":      {"GET " + at + tok + "/x HTTP/1.1", "a.example.test", "301"},
			"a way around":         {"GET " + at + "x/../" + tok + " HTTP/1.1", "a.example.test", "301"},
			"a way out":            {"GET " + at + "../../../../etc/passwd HTTP/1.1", "a.example.test", "301"},
			"a way out, encoded":   {"GET " + at + "%2e%2e%2f%2e%2e%2fusers HTTP/1.1", "a.example.test", "301"},
			"HEAD":                 {"HEAD " + at + tok + " HTTP/1.1", "a.example.test", "301"},
			"POST":                 {"POST " + at + tok + " HTTP/1.1\r\nContent-Length: 0", "a.example.test", "308"},
			"another host":         {"GET " + at + tok + " HTTP/1.1", "evil.test", "421"},
			"a host that may be":   {"GET " + at + tok + " HTTP/1.1", "x.demand.test", "301"},
			"a host as a path":     {"GET " + at + tok + " HTTP/1.1", "../a.example.test", "400"},
			"a host with a user":   {"GET " + at + tok + " HTTP/1.1", "a.example.test@evil.test", "400"},
			"an address":           {"GET " + at + tok + " HTTP/1.1", "127.0.0.1", "421"},
			"no host":              {"GET " + at + tok + " HTTP/1.0", "", "421"},
			"a proxy's form":       {"GET http://a.example.test" + at + tok + " HTTP/1.1", "a.example.test", "400"},
			"a header in the path": {"GET " + at + tok + "%0d%0aX:%20y HTTP/1.1", "a.example.test", "301"},
		} {
			status, text := raw(t, s.plain, c.line+"\r\nHost: "+c.host+"\r\nConnection: close\r\n\r\n")
			if told := strings.Contains(text, secret); status != c.status || told != (c.status == "200") {
				t.Errorf("%s: status %s, told the answer %v; want %s\n%s", name, status, told, c.status, text)
			}
			if strings.Contains(text, "\r\nX: y") {
				t.Errorf("%s: a header is let in: %q", name, text)
			}
		}
	})
	a.leads(s)
	s.ready(t, patience)
	if !called.Load() {
		t.Error("no challenge was under way")
	}
	if found, err := filepath.Glob(filepath.Join(dir, "acme", "*", "challenge_tokens", "*")); len(found) > 0 || err != nil {
		t.Errorf("behind the order %q are left, %v", found, err)
	}
}

// Whoever speaks the challenge's protocol is gone after the handshake, whatever was
// shown: nothing that it sends reaches the backend.
func TestTheChallengesProtocolEndsWithTheHandshake(t *testing.T) {
	t.Parallel()
	a, dir := newAuthority(t, terms{}), t.TempDir()
	var reached atomic.Int64
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(backend.Close)
	s := launch(t, backend.Listener.Addr().String(), a.settings(dir, "domains: [a.example.test], challenges: [tls-alpn-01]"))
	speak := func(protos ...string) (negotiated string, answer []byte, err error) {
		c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", s.addr, &tls.Config{
			ServerName: "a.example.test", NextProtos: protos, InsecureSkipVerify: true, // what is shown proves nothing to us
		})
		if err != nil {
			return "", nil, err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(c, "GET /secret HTTP/1.1\r\nHost: a.example.test\r\nConnection: close\r\n\r\n")
		answer, _ = io.ReadAll(c)
		return c.ConnectionState().NegotiatedProtocol, answer, nil
	}
	called := a.during(func() {
		if proto, answer, err := speak("acme-tls/1"); err != nil || proto != "acme-tls/1" || len(answer) > 0 {
			t.Errorf("while a challenge is under way: %q, %q, %v; want a handshake and nothing else", proto, answer, err)
		}
	})
	a.leads(s)
	s.ready(t, patience)
	if !called.Load() {
		t.Error("no challenge was under way")
	}
	if _, answer, err := speak("acme-tls/1"); err == nil || len(answer) > 0 {
		t.Errorf("without a challenge: %q, %v; want an alert", answer, err)
	}
	if proto, answer, err := speak("acme-tls/1", "something"); err == nil && len(answer) > 0 {
		t.Errorf("with another protocol beside: %q, %q; want nothing", proto, answer)
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d requests reached the backend", n)
	}
	if proto, answer, err := speak("acme-tls/1", "http/1.1"); err != nil || proto != "http/1.1" || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
		t.Errorf("with HTTP beside: %q, %q, %v; want an answer", proto, answer, err)
	}
	if n := len(s.log.lines(`"level":"WARN"`)) + len(s.log.lines(`"level":"ERROR"`)); n > 0 {
		t.Errorf("%d warnings and errors; want none", n)
	}
}
