package server

import (
	"crypto/tls"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"sidecar/protocol/resume/wire"
)

// thieves are those whom a session of alice's is nothing to.
func (i *identified) thieves() map[string]*caller {
	return map[string]*caller{
		"bob": i.caller(i.clients.Client(i.t, "bob")), "alice's next certificate": i.caller(i.clients.Client(i.t, "alice")), "nobody": i.caller(),
	}
}

var sidOf = regexp.MustCompile(`"sid":"([^"]+)"`)

func TestAnEngineIOSessionIsItsCertificates(t *testing.T) {
	i := startIdentified(t, Environment{}, "request")
	alice := i.caller(i.clients.Client(t, "alice"))
	_, text, err := openEngine(alice, false)
	m := sidOf.FindStringSubmatch(text)
	if err != nil || m == nil {
		t.Fatalf("handshake: %q, %v", text, err)
	}
	polling, socket := "/engine.io/?EIO=4&transport=polling&sid="+m[1], "/engine.io/?EIO=4&transport=websocket&sid="+m[1]
	for name, thief := range i.thieves() {
		for _, c := range []struct {
			h2     bool
			method string
			target string
			header http.Header
			body   string
		}{
			{false, "GET", polling, nil, ""}, {true, "GET", polling, nil, ""}, {false, "POST", polling, nil, "4stolen"}, {true, "POST", polling, nil, "4stolen"},
			{false, "GET", socket, upgrade(), ""},
		} {
			status, text, err := thief.ask(c.h2, c.method, c.target, c.header, []byte(c.body))
			if err != nil || status != 400 || !strings.Contains(text, "Session ID unknown") {
				t.Errorf("%s: %s %s, HTTP/2 %v: %d %q, %v; want 400, unknown", name, c.method, c.target, c.h2, status, text, err)
			}
		}
	}
	for _, h2 := range []bool{false, true} {
		if status, text, err := alice.ask(h2, "POST", polling, nil, []byte("4mine")); err != nil || status != 200 {
			t.Errorf("alice, HTTP/2 %v: %d %q, %v", h2, status, text, err)
		}
		if status, text, err := alice.ask(h2, "GET", polling, nil, nil); err != nil || status != 200 || text != "4mine" {
			t.Errorf("alice, HTTP/2 %v: %d %q, %v; want the echo", h2, status, text, err)
		}
	}
}

// first is the first frame of an answer.
func first(t *testing.T, text string) wire.Frame {
	t.Helper()
	f, _, err := wire.Split([]byte(text))
	if err != nil {
		t.Fatalf("splitting %q: %v", text, err)
	}
	return f
}

func TestAResumableSessionIsItsCertificates(t *testing.T) {
	i := startIdentified(t, Environment{}, "request")
	alice := i.caller(i.clients.Client(t, "alice"))
	poll := func(c *caller, h2 bool, hello *wire.Hello) string {
		t.Helper()
		b, err := hello.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		status, text, err := c.ask(h2, "POST", "/ws?sidecar=poll", http.Header{"Content-Type": {"text/plain"}}, b)
		if err != nil || status != 200 {
			t.Fatalf("%d %q, %v", status, text, err)
		}
		return text
	}
	hello := &wire.Hello{Version: 1, Attempt: wire.NewAttempt(), Generation: 1, Use: 1, Position: wire.Position{Lowest: 1}, Window: 64 << 10}
	w, err := wire.ParseWelcome(first(t, poll(alice, false, hello)).Body)
	if err != nil {
		t.Fatal(err)
	}
	back := *hello
	back.Session, back.Token, back.Generation = w.Session, w.Token, 2
	for name, thief := range i.thieves() {
		for _, h2 := range []bool{false, true} {
			f := first(t, poll(thief, h2, &back))
			if f.Type != wire.TypeGone || !strings.Contains(string(f.Body), "unknown") {
				t.Errorf("%s, HTTP/2 %v: %v %q; want GONE, unknown", name, h2, f.Type, f.Body)
			}
		}
		// Who knows the attempt opens a session of its own by it, and does not join.
		w2, err := wire.ParseWelcome(first(t, poll(thief, false, hello)).Body)
		if err != nil || w2.Session == w.Session {
			t.Errorf("%s joins alice's opening: %v", name, err)
		}
	}
	if f := first(t, poll(alice, true, &back)); f.Type != wire.TypeWelcome {
		t.Errorf("alice comes back, over HTTP/2: %v %q; want WELCOME", f.Type, f.Body)
	}
}

// A client that comes back by a ticket of TLS shows no certificate, and is who it was.
// Another name in its hello, or in Host, makes it nobody else.
func TestASessionGoesOnByTicket(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		i := startIdentified(t, Environment{}, "require")
		conf := i.config("http/1.1")
		conf.Certificates, conf.MaxVersion = []tls.Certificate{i.clients.Client(t, "alice")}, version
		conf.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		c := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
		ask := func(method, target, body, host string, resumed bool) string {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), method, i.url(target), strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host
			res, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != 200 || res.TLS.DidResume != resumed {
				t.Errorf("%s: %d %q, %v, by a ticket %v; want 200, %v", target, res.StatusCode, b, err, res.TLS.DidResume, resumed)
			}
			return string(b)
		}
		const engine = "/engine.io/?EIO=4&transport=polling"
		m := sidOf.FindStringSubmatch(ask("GET", engine, "", "localhost", false))
		if m == nil {
			t.Fatal("no session")
		}
		<-i.backend.asked
		ask("POST", engine+"&sid="+m[1], "4mine", "localhost", true)
		if got := ask("GET", engine+"&sid="+m[1], "", "good.example", true); got != "4mine" {
			t.Errorf("got %q; want the echo", got)
		}
		ask("GET", "/page", "", "good.example", true)
		if got := i.backend.saw(); got != "X-Client-Subject: CN=alice" {
			t.Errorf("the backend was told %q", got)
		}
	}
}
