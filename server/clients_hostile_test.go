package server

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/certs"
	"sidecar/protocol/resume/wire"
	"sidecar/test/authority"
)

// Blanks that are none in HTTP (RFC 9110 §5.6.3), and other ways to name our header in
// Connection, so that whoever reads that list otherwise than we do takes it for one
// that concerns the client's connection only.
var disguises = []string{
	"\u00a0X-Client-Subject", "X-Client-Subject\u00a0", "\u0085x-client-subject", "\u2003X-Client-Subject\u3000", "\u2028x-client-subject",
	"\t X-CLIENT-SUBJECT \t", ",,x.client.subject,,", "\"X-Client-Subject\"", "X-Client-Subject;a=b", "X-Client-Subject=1",
}

// With mode require the backend hears of every client: none may have its subject
// taken away on the way.
func TestAClientCannotHideItsSubject(t *testing.T) {
	i := startIdentified(t, Environment{}, "require")
	alice := i.caller(i.clients.Client(t, "alice"))
	for _, alice.lists = range disguises {
		for _, way := range ways {
			if way.h2 {
				continue // it has no Connection
			}
			if status, text, err := way.ask(alice, false); err != nil || status != way.want {
				t.Errorf("Connection: %q, %s: %d %q, %v", alice.lists, way.name, status, text, err)
				continue
			}
			if got := i.backend.saw(); got != "X-Client-Subject: CN=alice" {
				t.Errorf("Connection: %q, %s: the backend was told %q", alice.lists, way.name, got)
			}
		}
	}
}

// resumed posts frames to a carrier, and returns the first of the answer behind what
// fills it up.
func (c *caller) resumed(h2 bool, kind wire.Kind, frames []byte) wire.Frame {
	c.t.Helper()
	status, text, err := c.ask(h2, "POST", "/ws?sidecar="+string(kind), http.Header{"Content-Type": {wire.RequestType}}, frames)
	if err != nil || status != 200 {
		c.t.Fatalf("%s: %d %q, %v", kind, status, text, err)
	}
	f, rest, err := wire.Split([]byte(text))
	for err == nil && f.Type == wire.TypePad {
		f, rest, err = wire.Split(rest)
	}
	if err != nil {
		c.t.Fatalf("%s: %q, %v", kind, text, err)
	}
	return f
}

// Nobody goes on with a session, nor comes back to it on another carrier, by what he
// has overheard but for the certificate.
func TestNobodyGoesOnWithTheSessionOfAnotherCertificate(t *testing.T) {
	i := startIdentified(t, Environment{}, "request")
	alice := i.caller(i.clients.Client(t, "alice"))
	w, err := wire.ParseWelcome(alice.resumed(false, wire.Poll, resumeHello(t)).Body)
	if err != nil {
		t.Fatal(err)
	}
	on := wire.Ack{}.Append(wire.Continue{Session: w.Session, Token: w.Token, Generation: 1}.Append(nil))
	message := wire.Data{Number: 1, Payload: []byte("stolen")}.Append(on)
	back := &wire.Hello{
		Version: 1, Attempt: wire.NewAttempt(), Session: w.Session, Token: w.Token, Generation: 2, Use: 2,
		Position: wire.Position{Lowest: 1}, Window: 64 << 10,
	}
	hello, err := back.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := func(who string, f wire.Frame) {
		t.Helper()
		if f.Type != wire.TypeGone || !strings.Contains(string(f.Body), "unknown") {
			t.Errorf("%s: %v %q; want GONE, unknown", who, f.Type, f.Body)
		}
	}
	for name, thief := range i.thieves() {
		for _, h2 := range []bool{false, true} {
			gone(name+", a send", thief.resumed(h2, wire.Send, message))
			gone(name+", a poll", thief.resumed(h2, wire.Poll, on))
			gone(name+", a stream", thief.resumed(h2, wire.Stream, hello))
		}
		ws := i.dialResumable(thief)
		if err := ws.WriteMessage(websocket.BinaryMessage, hello); err != nil {
			t.Fatal(err)
		}
		_, b, err := ws.ReadMessage()
		if err != nil {
			t.Fatalf("%s, a WebSocket: %v", name, err)
		}
		gone(name+", a WebSocket", first(t, string(b)))
	}
	if f := alice.resumed(true, wire.Send, message); f.Type != wire.TypeAck {
		t.Errorf("alice, a send: %v %q; want ACK", f.Type, f.Body)
	}
}

// dialResumable opens a carrier of c's on a WebSocket.
func (i *identified) dialResumable(c *caller) *websocket.Conn {
	i.t.Helper()
	conf := i.config()
	conf.Certificates = c.certs
	d := websocket.Dialer{HandshakeTimeout: patience, TLSClientConfig: conf, Subprotocols: []string{wire.Subprotocol}}
	ws, _, err := d.Dial("wss://"+i.addr()+"/ws", nil)
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { _ = ws.Close() })
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	return ws
}

// An address that is trusted in what it says of clients' addresses is not in who they are.
func TestTrustedProxiesCannotSetTheSubject(t *testing.T) {
	i := &identified{clients: authority.New(t), backend: newWitness(t)}
	c := parse(t, allProtocols+"upstream: %s\ntrusted_proxies: [127.0.0.1, \"::1\"]", i.backend.ws())
	c.TLS.ClientAuth.CA, c.TLS.ClientAuth.Mode = authority.Roots(t, i.clients), "request"
	i.secured = startTLSIn(t, Environment{}, c)
	for want, caller := range map[string]*caller{"X-Client-Subject: CN=alice": i.caller(i.clients.Client(t, "alice")), "": i.caller()} {
		for _, way := range ways {
			if status, text, err := way.ask(caller, way.h2); err != nil || status != way.want {
				t.Errorf("%s: %d %q, %v", way.name, status, text, err)
				continue
			}
			if got := i.backend.saw(); got != want {
				t.Errorf("%s, HTTP/2 %v: the backend was told %q; want %q", way.name, way.h2, got, want)
			}
		}
	}
}

// What asks nobody for a certificate reaches no backend.
func TestOtherListenersAskNobody(t *testing.T) {
	i := startIdentified(t, Environment{}, "require")
	res := i.askPlain("GET /page HTTP/1.1\r\nHost: localhost\r\nX-Client-Subject: CN=root\r\n\r\n")
	if res.StatusCode != 301 || !strings.HasPrefix(res.Header.Get("Location"), "https://localhost") {
		t.Errorf("the redirecting listener: %d, to %q; want 301", res.StatusCode, res.Header.Get("Location"))
	}
	if status, _ := i.opsGet("/page"); status != 404 {
		t.Errorf("the ops listener: %d; want 404", status)
	}
	if len(i.backend.asked) > 0 {
		t.Error("the backend was asked")
	}
}

// A connection over HTTP/1.1 from before is no way in either, whatever is asked for over
// it, and ends with the refusal.
func TestConnectionsFromBeforeNewRoots(t *testing.T) {
	const get, post = "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"
	const shake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	i := startIdentified(t, Environment{}, "require")
	alice := i.config("http/1.1")
	alice.Certificates = []tls.Certificate{i.clients.Client(t, "alice")}
	hello := resumeHello(t)
	asked := map[string]string{
		"HTTP": fmt.Sprintf(get, "/page", ""), "raw WebSocket": fmt.Sprintf(get, "/ws", shake),
		"Engine.IO":              fmt.Sprintf(get, "/engine.io/?EIO=4&transport=polling", ""),
		"Engine.IO by WebSocket": fmt.Sprintf(get, "/engine.io/?EIO=4&transport=websocket", shake),
		"resume by polling":      fmt.Sprintf(post, "/ws?sidecar=poll", len(hello), hello),
		"resume by WebSocket":    fmt.Sprintf(get, "/ws", shake+"Sec-WebSocket-Protocol: "+wire.Subprotocol+"\r\n"),
	}
	conns := map[string]*tls.Conn{}
	for name := range asked {
		c := tls.Client(dial(t, i.addr()), alice)
		fmt.Fprintf(c, get, "/page", "")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("before: %v, %v", res, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		<-i.backend.asked
		conns[name] = c
	}
	others := authority.Roots(t, authority.Named(t, "others"))
	i.reauth(func(a *certs.ClientAuth) { a.CA = others })
	for name, request := range asked {
		_, _ = io.WriteString(conns[name], request)
		r := bufio.NewReader(conns[name])
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != http.StatusMisdirectedRequest || !res.Close {
			t.Errorf("%s: %v, %v; want 421 and the end", name, res, err)
			continue
		}
		_, _ = io.Copy(io.Discard, res.Body)
		if b, err := io.ReadAll(r); len(b) > 0 || err != nil {
			t.Errorf("%s: behind the refusal come %q, %v; want the end", name, b, err)
		}
	}
	if len(i.backend.asked) > 0 {
		t.Error("the backend was asked")
	}
}
