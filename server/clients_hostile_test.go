package server

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
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
