package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/test/authority"
)

// A witness is a backend that keeps the header of each request, and echoes WebSockets.
type witness struct {
	*httptest.Server
	t     *testing.T
	asked chan http.Header
}

func newWitness(t *testing.T) *witness {
	w := &witness{t: t, asked: make(chan http.Header, 100)}
	w.Server = httptest.NewServer(w)
	t.Cleanup(func() {
		w.CloseClientConnections()
		w.Close()
	})
	return w
}

func (w *witness) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // trailers come behind it
	h := r.Header.Clone()
	for name, values := range r.Trailer {
		h["Trailer: "+name] = values
	}
	w.asked <- h
	if websocket.IsWebSocketUpgrade(r) {
		echo(to, r)
	}
}

// saw is what the next request said of X-Client-Subject, in whatever spelling.
func (w *witness) saw() string {
	w.t.Helper()
	select {
	case h := <-w.asked:
		var all []string
		for name, values := range h {
			plain := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
			if strings.HasSuffix(plain, "x-client-subject") {
				all = append(all, name+": "+strings.Join(values, "|"))
			}
		}
		return strings.Join(all, "; ")
	case <-time.After(patience):
		w.t.Fatal("the backend was not asked")
		return ""
	}
}

func (w *witness) ws() string { return "ws" + strings.TrimPrefix(w.URL, "http") }

// An identified is a Server that asks for certificates by clients' authority.
type identified struct {
	*secured
	clients *authority.Authority
	roots   string
	backend *witness
}

const allProtocols = "protocols: [websocket, resume, engineio, http]\n"

func startIdentified(t *testing.T, e Environment, mode string) *identified {
	t.Helper()
	i := &identified{clients: authority.New(t), backend: newWitness(t)}
	i.roots = authority.Roots(t, i.clients)
	c := parse(t, allProtocols+"upstream: %s", i.backend.ws())
	c.TLS.ClientAuth.CA, c.TLS.ClientAuth.Mode = i.roots, mode
	c.TLS.Loop = !e.Goroutines
	i.secured = startTLSIn(t, e, c)
	return i
}

// A caller is one client, with a certificate or without.
type caller struct {
	*identified
	certs []tls.Certificate
	h2    *http.Client
	lists string // further elements of Connection, over HTTP/1.1
}

func (i *identified) caller(certs ...tls.Certificate) *caller {
	c := &caller{identified: i, certs: certs}
	c.h2 = i.client(true)
	c.h2.Transport.(*http.Transport).TLSClientConfig.Certificates = certs
	return c
}

// lies are what a stranger may send in the hope that a backend believes it.
var lies = http.Header{
	"X-Client-Subject": {"CN=root", "CN=admin"}, "x_client_subject": {"CN=root"}, "X.Client.Subject": {"CN=root"}, "X-CLIENT_SUBJECT": {"CN=root"},
}

// ask is one request with all lies, by HTTP/1.1 with Connection naming the header, or
// by HTTP/2.
func (c *caller) ask(h2 bool, method, target string, header http.Header, body []byte) (int, string, error) {
	h := lies.Clone()
	for name, values := range header {
		h[name] = values
	}
	if h2 {
		return c.askByHTTP2(method, target, h, body)
	}
	conf := c.config("http/1.1")
	conf.Certificates = c.certs
	conn := tls.Client(dial(c.t, c.addr()), conf)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, target)
	connection := "close, X-Client-Subject, x_client_subject"
	if h.Get("Upgrade") != "" {
		connection = "Upgrade, x-client-subject"
	}
	if c.lists != "" {
		connection += ", " + c.lists
	}
	fmt.Fprintf(&b, "Connection: %s\r\nContent-Length: %d\r\n", connection, len(body))
	_ = h.Write(&b)
	b.WriteString("\r\n")
	b.Write(body)
	if _, err := conn.Write(b.Bytes()); err != nil {
		return 0, "", err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols {
		return res.StatusCode, "", nil
	}
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

func (c *caller) askByHTTP2(method, target string, h http.Header, body []byte) (int, string, error) {
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url(target), bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header = h
	res, err := c.h2.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if res.ProtoMajor != 2 {
		c.t.Errorf("answered by %s; want HTTP/2", res.Proto)
	}
	return res.StatusCode, string(text), err
}

// dialWith opens a WebSocket of c's.
func (i *identified) dialWith(c *caller) *websocket.Conn {
	i.t.Helper()
	conf := i.config()
	conf.Certificates = c.certs
	d := websocket.Dialer{HandshakeTimeout: patience, TLSClientConfig: conf}
	ws, _, err := d.Dial("wss://"+i.addr()+"/ws", nil)
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { _ = ws.Close() })
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	<-i.backend.asked
	return ws
}

// upgrade is the header of a WebSocket handshake.
func upgrade(more ...string) http.Header {
	h := http.Header{"Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = []string{more[i+1]}
	}
	return h
}
