package server

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/test/authority"
)

// ways are the ways on which a client has the backend asked.
var ways = []struct {
	name string
	h2   bool
	ask  func(c *caller, h2 bool) (int, string, error)
	want int
}{
	{"raw WebSocket", false, func(c *caller, h2 bool) (int, string, error) { return c.ask(h2, "GET", "/ws", upgrade(), nil) }, 101},
	{"HTTP", false, get1, 200},
	{"HTTP", true, get1, 200},
	{"POST", false, post1, 200},
	{"POST", true, post1, 200},
	{"Engine.IO by polling", false, openEngine, 200},
	{"Engine.IO by polling", true, openEngine, 200},
	{"Engine.IO by WebSocket", false, func(c *caller, h2 bool) (int, string, error) {
		return c.ask(h2, "GET", "/engine.io/?EIO=4&transport=websocket", upgrade(), nil)
	}, 101},
	{"resume by polling", false, openResume, 200},
	{"resume by polling", true, openResume, 200},
}

func get1(c *caller, h2 bool) (int, string, error) { return c.ask(h2, "GET", "/page", nil, nil) }

func post1(c *caller, h2 bool) (int, string, error) {
	return c.ask(h2, "POST", "/page", nil, []byte("body"))
}

func openEngine(c *caller, h2 bool) (int, string, error) {
	return c.ask(h2, "GET", "/engine.io/?EIO=4&transport=polling", nil, nil)
}

func openResume(c *caller, h2 bool) (int, string, error) {
	return c.ask(h2, "POST", "/ws?sidecar=poll", http.Header{"Content-Type": {"text/plain"}}, resumeHello(c.t))
}

// Whatever a stranger sends, the backend hears the subject of the certificate that
// was shown, or nothing where none was.
func TestStrangersCannotSetTheSubject(t *testing.T) {
	for name, e := range map[string]Environment{"on loops": {}, "on goroutines": {Goroutines: true}} {
		t.Run(name, func(t *testing.T) {
			i := startIdentified(t, e, "request")
			alice, nobody := i.caller(i.clients.Client(t, "alice")), i.caller()
			for _, way := range ways {
				for _, c := range []struct {
					*caller
					want string
				}{{alice, "X-Client-Subject: CN=alice"}, {nobody, ""}} {
					status, text, err := way.ask(c.caller, way.h2)
					if err != nil || status != way.want {
						t.Errorf("%s, HTTP/2 %v: %d %q, %v; want %d", way.name, way.h2, status, text, err, way.want)
						continue
					}
					if got := i.backend.saw(); got != c.want {
						t.Errorf("%s, HTTP/2 %v: the backend was told %q; want %q", way.name, way.h2, got, c.want)
					}
				}
			}
		})
	}
}

// The carrier of a resumable session on a WebSocket asks the backend once its HELLO came.
func TestTheSubjectOfAResumableWebSocket(t *testing.T) {
	i := startIdentified(t, Environment{}, "require")
	conf := i.config()
	conf.Certificates = []tls.Certificate{i.clients.Client(t, "alice")}
	h := lies.Clone()
	h["Sec-Websocket-Protocol"] = []string{"sidecar.resume.v1"}
	d := websocket.Dialer{HandshakeTimeout: patience, TLSClientConfig: conf}
	c, _, err := d.Dial("wss://"+i.addr()+"/ws", h)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if err := c.WriteMessage(websocket.BinaryMessage, resumeHello(t)); err != nil {
		t.Fatal(err)
	}
	if _, b, err := c.ReadMessage(); err != nil || framesOf(t, b) != "WELCOME" {
		t.Fatalf("HELLO got %q, %v", b, err)
	}
	if got := i.backend.saw(); got != "X-Client-Subject: CN=alice" {
		t.Errorf("the backend was told %q", got)
	}
}

// A trailer is a header that comes late, and some backends read it as one.
func TestASubjectInATrailer(t *testing.T) {
	i := startIdentified(t, Environment{}, "request")
	for _, h2 := range []bool{false, true} {
		c := i.client(h2)
		r, err := http.NewRequest("POST", i.url("/page"), struct{ *strings.Reader }{strings.NewReader("body")})
		if err != nil {
			t.Fatal(err)
		}
		r.Trailer = http.Header{"X-Client-Subject": {"CN=root"}}
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if got := i.backend.saw(); got != "" {
			t.Errorf("HTTP/2 %v: the backend was told %q; want nothing", h2, got)
		}
	}
}

func TestWebSocketsWithCertificatesAreRelayed(t *testing.T) {
	for name, e := range map[string]Environment{"on loops": {}, "on goroutines": {Goroutines: true}} {
		t.Run(name, func(t *testing.T) {
			i := startIdentified(t, e, "require")
			conf := i.config()
			conf.Certificates = []tls.Certificate{i.clients.Client(t, "alice")}
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				conf.MaxVersion = version
				d := websocket.Dialer{HandshakeTimeout: patience, TLSClientConfig: conf}
				c, _, err := d.Dial("wss://"+i.addr()+"/ws", nil)
				if err != nil {
					t.Fatal(err)
				}
				_ = c.SetReadDeadline(time.Now().Add(patience))
				for _, text := range []string{"hello", strings.Repeat("x", 100_000), ""} {
					echoes(t, c, text)
				}
				_ = c.Close()
			}
		})
	}
}

// As a certificate authority may sign them; the table of certs' TestSubjects has more.
func TestOddSubjects(t *testing.T) {
	i := startIdentified(t, Environment{}, "require")
	for name, want := range map[string]string{
		`a,O=evil "x"`: `CN=a\,O=evil \"x\"`,
		"a\r\nX-Client-Subject: CN=root\r\n\r\nGET /admin HTTP/1.1": `CN=a\0D\0AX-Client-Subject: CN=root\0D\0A\0D\0AGET /admin HTTP/1.1`,
		"Jörg": "CN=J%C3%B6rg", "a\x00b": `CN=a\00b`, "\tb ": `CN=\09b\20`, "100%": "CN=100%25",
		strings.Repeat("n", 2045): "CN=" + strings.Repeat("n", 2045),
	} {
		c := i.caller(i.clients.ClientOf(t, time.Hour, authority.Subject(t, pkix.Name{CommonName: name}.ToRDNSequence())))
		for _, way := range ways {
			if status, text, err := way.ask(c, way.h2); err != nil || status != way.want {
				t.Errorf("%q, %s: %d %q, %v", name, way.name, status, text, err)
				continue
			}
			if got := i.backend.saw(); got != "X-Client-Subject: "+want {
				t.Errorf("%q, %s: the backend was told %q; want %q", name, way.name, got, want)
			}
		}
	}
	long := i.caller(i.clients.Client(t, strings.Repeat("n", 2046)))
	for _, way := range ways {
		if status, _, err := way.ask(long, way.h2); err == nil {
			t.Errorf("a subject of 2049 bytes, %s: %d; want no handshake", way.name, status)
		}
	}
	select {
	case h := <-i.backend.asked:
		t.Errorf("the backend was asked with %q", h)
	default:
	}
}

// Who is refused reaches no backend, and is said in the log where failed handshakes are.
func TestRefusedCertificates(t *testing.T) {
	others := authority.Named(t, "another authority")
	for _, mode := range []string{"require", "request"} {
		i := startIdentified(t, Environment{}, mode)
		stranger := others.Client(t, "alice")
		expired := i.clients.ClientOf(t, -time.Minute, authority.Subject(t, nil))
		for name, c := range map[string]struct {
			show *tls.Certificate
			log  string
		}{
			"of another authority": {&stranger, "certificate signed by unknown authority"},
			"expired":              {&expired, "certificate has expired"},
			"none":                 {&tls.Certificate{}, "client didn't provide a certificate"},
		} {
			if name == "none" && mode == "request" {
				continue
			}
			conf := i.config("http/1.1")
			conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.show, nil }
			d := websocket.Dialer{HandshakeTimeout: patience, TLSClientConfig: conf}
			if ws, _, err := d.Dial("wss://"+i.addr()+"/ws", nil); err == nil {
				_ = ws.Close()
				t.Errorf("mode %s, %s: let in", mode, name)
			}
			eventually(t, "the line in the log", func() bool { return strings.Contains(i.log.String(), c.log) })
		}
		if len(i.backend.asked) > 0 {
			t.Errorf("mode %s: the backend was asked", mode)
		}
	}
}
