//go:build linux

package load

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// An engine is as much of an Engine.IO server as the clients here need. It
// echoes over polling.
type engine struct {
	mu    sync.Mutex
	boxes map[string]chan []byte // what polls wait for, by session
	// reply is what becomes of an answer to the n-th poll of all.
	reply func(n int, body []byte) []byte
	polls int
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	box, body := e.session(r)
	switch {
	case box == nil:
		http.Error(w, `{"code":1,"message":"Session ID unknown"}`, http.StatusBadRequest)
	case body != nil:
		w.Write(body)
	case r.Method == http.MethodPost:
		b, _ := io.ReadAll(r.Body)
		box <- b
		io.WriteString(w, "ok")
	default:
		select {
		case b := <-box:
			w.Write(e.change(b))
		case <-r.Context().Done():
		}
	}
}

// session is r's, and the answer that opens it where r asks for that.
func (e *engine) session(r *http.Request) (box chan []byte, body []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sid := r.URL.Query().Get("sid")
	if sid == "" {
		sid = fmt.Sprint("s", len(e.boxes))
		e.boxes[sid] = make(chan []byte, 10)
		body = fmt.Appendf(nil, `0{"sid":%q,"upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`, sid)
	}
	return e.boxes[sid], body
}

func (e *engine) change(b []byte) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.polls++; e.reply == nil {
		return b
	}
	return e.reply(e.polls, b)
}

// serve serves e until the test's end.
func (e *engine) serve(t *testing.T) (addr string) {
	e.boxes = map[string]chan []byte{}
	s := httptest.NewServer(e)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestPollsAreCounted(t *testing.T) {
	var e engine
	addr := e.serve(t)
	r := rig(t)
	w, err := r.Poll(addr, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	n, took, err := w.Echo(50 * time.Millisecond)
	if err != nil || n < 10 || took < 50*time.Millisecond {
		t.Errorf("%d echoes in %v, %v; want 10 at least in 50ms", n, took, err)
	}
	r.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	if n != e.polls || len(e.boxes) != 10 {
		t.Errorf("%d echoes by %d polls of %d sessions; want as many, of 10", n, e.polls, len(e.boxes))
	}
}

func TestWrongPollsAreCaught(t *testing.T) {
	for name, wrong := range map[string]func([]byte) []byte{
		"flips a bit":               func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"says it twice":             func(b []byte) []byte { return append(append(bytes.Clone(b), '\x1e'), b...) },
		"says what was said before": func(b []byte) []byte { b[16]--; return b },
		"says nothing":              func([]byte) []byte { return []byte("6") },
		"pings":                     func([]byte) []byte { return []byte("2") },
		"closes":                    func([]byte) []byte { return []byte("1") },
	} {
		e := engine{reply: func(n int, b []byte) []byte {
			if n < 20 {
				return b
			}
			return wrong(b)
		}}
		addr := e.serve(t)
		r := rig(t)
		w, err := r.Poll(addr, 3, 64)
		if err != nil {
			t.Fatalf("%s: %v while it did not yet", name, err)
		}
		if _, _, err := w.Echo(5 * time.Second); err == nil {
			t.Errorf("a server that %s was not noticed", name)
		}
		r.Close()
	}
}

func TestParkedPollsWait(t *testing.T) {
	for _, spoken := range []bool{false, true} {
		var e engine
		addr := e.serve(t)
		r := rig(t)
		w, err := r.Park(addr, 20, spoken)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Idle(10 * time.Millisecond); err != nil {
			t.Errorf("spoken %v: %v", spoken, err)
		}
		waiting := 0
		for _, p := range w.clients {
			waiting += p.under
		}
		if waiting != 20 {
			t.Errorf("spoken %v: %d polls wait; want 20", spoken, waiting)
		}
		e.mu.Lock()
		for _, box := range e.boxes {
			box <- []byte("4nobody asked")
		}
		e.mu.Unlock()
		if err := r.l.within(10*time.Second, "", func() bool { return false }); err == nil || !strings.Contains(err.Error(), "4nobody asked") {
			t.Errorf("spoken %v: got %v; want what a waiting poll was answered with", spoken, err)
		}
		r.Close()
	}
}

func TestAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok"
	for n := range len(ok) {
		if body, _, err := answer([]byte(ok[:n])); err != errShort {
			t.Errorf("%q was read as %q, %v", ok[:n], body, err)
		}
	}
	if body, rest, err := answer([]byte(ok + "HTTP")); string(body) != "ok" || string(rest) != "HTTP" || err != nil {
		t.Errorf("got %q, %q, %v; want ok, and what follows", body, rest, err)
	}
	for _, bad := range []string{
		"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
		strings.Repeat("x", mostHead+1),
	} {
		if body, _, err := answer([]byte(bad)); err == nil || err == errShort {
			t.Errorf("%.60q was read as %q, %v", bad, body, err)
		}
	}
}

func TestOpenings(t *testing.T) {
	if sid, err := opening([]byte(`0{"sid":"abc","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`)); sid != "abc" || err != nil {
		t.Errorf("got %q, %v; want abc", sid, err)
	}
	for _, bad := range []string{"", "0", "0{}", `4{"sid":"a","pingInterval":1,"pingTimeout":1}`, `0{"sid":"","pingInterval":1,"pingTimeout":1}`, `0{"sid":"a"}`, "1"} {
		if sid, err := opening([]byte(bad)); err == nil {
			t.Errorf("%q opened %q", bad, sid)
		}
	}
}

// Engine.IO over WebSocket: the proxy of these tests makes packets of the plain
// backend's, so that the clients' own part is seen at work.
func TestEngineOverWebSocket(t *testing.T) {
	const open = `0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`
	var pongs atomic.Int32
	honest := func(n int, b []byte) []byte {
		if n == 0 { // the 101
			b = appendFrame(b, opText, []byte(open), nil)
			return appendFrame(b, opText, []byte("2"), nil)
		}
		pong := appendFrame(nil, opText, []byte("3"), nil)
		pongs.Add(int32(bytes.Count(b, pong)))
		return bytes.ReplaceAll(b, pong, nil)
	}
	r := rig(t)
	w, err := r.OpenEngine(through(t, r.Backend(), honest), 3, 64)
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := w.Echo(50 * time.Millisecond); err != nil || n < 3 {
		t.Errorf("%d echoes, %v; want 3 at least", n, err)
	}
	r.Close()
	if n := pongs.Load(); n != 3 {
		t.Errorf("%d pongs to 3 pings", n)
	}
	for name, wrong := range map[string]func([]byte) []byte{
		"flips a bit":          func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"makes binary of text": func(b []byte) []byte { b[0] = 0x82; return b },
		"closes":               func([]byte) []byte { return appendFrame(nil, opText, []byte("1"), nil) },
	} {
		r := rig(t)
		w, err := r.OpenEngine(through(t, r.Backend(), func(n int, b []byte) []byte {
			if b = honest(n, b); n < 5 || len(b) < 67 {
				return b
			}
			return wrong(b)
		}), 3, 64)
		if err != nil {
			t.Fatalf("%s: %v while it did not yet", name, err)
		}
		if err := echoes(w); err == nil {
			t.Errorf("a server that %s was not noticed", name)
		}
		r.Close()
	}
}
