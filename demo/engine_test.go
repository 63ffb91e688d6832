package demo

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
)

// A fakeEngine stands for the sidecar's Engine.IO: it echoes what its clients
// say. Its fields are what it does wrong.
type fakeEngine struct {
	offers   string                          // in place of ["websocket"]
	answers  func(packets []string) []string // what becomes of those that a poll gets
	says     func(kind int, p []byte) []byte // what becomes of a message by WebSocket; nil: nothing comes
	kind     int                             // of all messages by WebSocket; 0: as they came
	ok       string                          // in place of ok
	pong     string                          // in place of 3probe
	noNoop   bool                            // a poll that waits goes on
	forgets  bool                            // what came before the upgrade
	mu       sync.Mutex
	sessions map[string]*fakeSession
}

// A fakeSession has what waits for a poll, and for the upgrade.
type fakeSession struct{ out, noop chan string }

// withEngine serves f beside h.
func withEngine(f *fakeEngine, h http.Handler) http.Handler {
	f.sessions = map[string]*fakeSession{}
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.Handle("/engine.io/", f)
	return mux
}

func (f *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f.mu.Lock()
	s := f.sessions[q.Get("sid")]
	f.mu.Unlock()
	switch {
	case q.Get("EIO") != "4" || s == nil && q.Get("sid") != "":
		http.Error(w, `{"code":1,"message":"Session ID unknown"}`, http.StatusBadRequest)
	case q.Get("transport") == "websocket":
		f.socket(w, r, s)
	case s == nil:
		io.WriteString(w, f.open())
	case r.Method == http.MethodPost:
		f.post(w, r, s)
	default:
		f.poll(w, r, s)
	}
}

func (f *fakeEngine) open() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	sid := "sid" + strings.Repeat("x", len(f.sessions))
	f.sessions[sid] = &fakeSession{make(chan string, 200), make(chan string, 1)}
	offers := `["websocket"]`
	if f.offers != "" {
		offers = f.offers
	}
	return `0{"sid":"` + sid + `","upgrades":` + offers + `,"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`
}

func (f *fakeEngine) post(w http.ResponseWriter, r *http.Request, s *fakeSession) {
	b, _ := io.ReadAll(r.Body)
	for p := range strings.SplitSeq(string(b), separator) {
		if p != "1" {
			s.out <- p
		}
	}
	if f.ok != "" {
		io.WriteString(w, f.ok)
		return
	}
	io.WriteString(w, "ok")
}

func (f *fakeEngine) poll(w http.ResponseWriter, r *http.Request, s *fakeSession) {
	var packets []string
	select {
	case p := <-s.noop:
		packets = append(packets, p)
	case p := <-s.out:
		packets = append(packets, p)
	case <-r.Context().Done():
		return
	}
	for len(s.out) > 0 {
		packets = append(packets, <-s.out)
	}
	if f.answers != nil {
		packets = f.answers(packets)
	}
	io.WriteString(w, strings.Join(packets, separator))
}

// socket is a session of its own if s is nil, and the upgrade of s if not.
func (f *fakeEngine) socket(w http.ResponseWriter, r *http.Request, s *fakeSession) {
	c, err := acceptAll().Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	if s == nil {
		c.WriteMessage(websocket.TextMessage, []byte(f.open()))
	} else if f.upgrade(c, s) != nil {
		return
	}
	for {
		kind, p, err := c.ReadMessage()
		if err != nil || f.say(c, kind, p) != nil {
			return
		}
	}
}

func (f *fakeEngine) upgrade(c *websocket.Conn, s *fakeSession) error {
	if _, _, err := c.ReadMessage(); err != nil {
		return err
	}
	pong := "3probe"
	if f.pong != "" {
		pong = f.pong
	}
	c.WriteMessage(websocket.TextMessage, []byte(pong))
	if !f.noNoop {
		s.noop <- "6"
	}
	if _, _, err := c.ReadMessage(); err != nil {
		return err
	}
	for len(s.out) > 0 && !f.forgets {
		if err := f.say(c, websocket.TextMessage, []byte(<-s.out)); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeEngine) say(c *websocket.Conn, kind int, p []byte) error {
	if f.says != nil {
		p = f.says(kind, p)
	}
	if f.kind != 0 {
		kind = f.kind
	}
	return c.WriteMessage(kind, p)
}

// engineFaults are what a fakeEngine can do wrong, and the checks that must notice.
var engineFaults = []struct {
	name  string
	bad   fakeEngine
	fails []string
}{
	{"polled text altered", fakeEngine{answers: func(p []string) []string { p[0] = strings.ToUpper(p[0]); return p }},
		[]string{"Engine.IO by polling"}},
	{"polled packets exchanged", fakeEngine{answers: func(p []string) []string {
		if n := len(p); n > 1 {
			p[n-1], p[n-2] = p[n-2], p[n-1]
		}
		return p
	}}, []string{"Engine.IO by polling"}},
	{"a polled packet lost", fakeEngine{answers: func(p []string) []string { return p[:max(len(p)-1, 1)] }},
		[]string{"Engine.IO by polling"}},
	{"an empty answer", fakeEngine{answers: func([]string) []string { return nil }},
		[]string{"Engine.IO by polling", "Engine.IO upgrade"}},
	{"sending answered otherwise", fakeEngine{ok: "6"}, []string{"Engine.IO by polling", "Engine.IO upgrade"}},
	{"messages altered", fakeEngine{says: func(_ int, p []byte) []byte { return append(p, '!') }},
		[]string{"Engine.IO by WebSocket", "Engine.IO upgrade"}},
	{"binary sent as text", fakeEngine{kind: websocket.TextMessage}, []string{"Engine.IO by WebSocket"}},
	{"no upgrade offered", fakeEngine{offers: "[]"}, []string{"Engine.IO by polling", "Engine.IO upgrade"}},
	{"no list of upgrades", fakeEngine{offers: "null"}, []string{"Engine.IO by polling", "Engine.IO by WebSocket", "Engine.IO upgrade"}},
	{"the probe answered otherwise", fakeEngine{pong: "3"}, []string{"Engine.IO upgrade"}},
	{"a poll that goes on", fakeEngine{noNoop: true}, []string{"Engine.IO upgrade"}},
	{"a message lost by the upgrade", fakeEngine{forgets: true}, []string{"Engine.IO upgrade"}},
}

// What arrives at / is a session of Engine.IO, or a reader of the page.
func TestRootIsPageAndSocket(t *testing.T) {
	s := httptest.NewServer(Backend())
	defer s.Close()
	page, err := http.Get(s.URL + "/?code=4001")
	if err != nil {
		t.Fatal(err)
	}
	defer page.Body.Close()
	if got := page.Header.Get("Content-Type"); page.StatusCode != http.StatusOK || !strings.HasPrefix(got, "text/html") {
		t.Errorf("a plain request got %d, %q; want the page", page.StatusCode, got)
	}
	target, err := newTarget(s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := target.open(t.Context(), "/?token=1", offer{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.end()
	if err := c.echo(websocket.TextMessage, []byte("hello")); err != nil {
		t.Errorf("with no code asked for: %v", err)
	}
	if _, err := target.closes(t.Context(), "/?code=4001&reason=goodbye", closing{4001, "goodbye"}, nil); err != nil {
		t.Error(err)
	}
}
