//go:build linux

package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A resumer is as much of a server of resumable sessions as the clients here need,
// over HTTP. It echoes by the client's own encoder, which TestFramesAreThoseOfTheVectors
// checks.
type resumer struct {
	mu    sync.Mutex
	boxes map[string]*box // by session
	polls int             // with an echo, and echoes by streams
	// change is what becomes of the n-th of those.
	change func(n int, b []byte) []byte
	sends  func(ack []byte) []byte // what becomes of an answer to a send; nil: itself
	split  bool                    // a stream's frames come byte by byte
}

// A box is one session.
type box struct {
	side  *talk // as the server sees it: said is down
	ready chan []byte
}

func (s *resumer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	way := r.URL.Query().Get("sidecar")
	if r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain") || len(body) == 0 {
		http.Error(w, "what is this?", http.StatusBadRequest)
		return
	}
	if body[0] == partHello {
		s.open(w, r, body, way)
		return
	}
	b := s.goesOn(body)
	if b == nil {
		http.Error(w, "who is this?", http.StatusBadRequest)
		return
	}
	if way == "send" {
		s.mu.Lock()
		ack := b.side.ack(nil)
		s.mu.Unlock()
		if s.sends != nil {
			ack = s.sends(ack)
		}
		w.Write(ack)
		return
	}
	select {
	case echo := <-b.ready:
		w.Write(echo)
	case <-r.Context().Done():
	}
}

// open answers a HELLO, and goes on with a stream.
func (s *resumer) open(w http.ResponseWriter, r *http.Request, body []byte, way string) {
	_, hello, rest, err := cutPart(body)
	if err != nil || len(rest) > 0 || !json.Valid(hello) {
		http.Error(w, "what is this?", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	id := fmt.Sprint("s", len(s.boxes))
	b := &box{side: &talk{session: id}, ready: make(chan []byte, 10)}
	b.side.news = func(payload []byte) error {
		s.polls++
		echo := s.changed(b.side.say(b.side.ack(nil), payload))
		b.ready <- echo
		return nil
	}
	s.boxes[id] = b
	s.mu.Unlock()
	welcome := appendPart(nil, partWelcome, fmt.Appendf(nil, `{"version":1,"session":%q,"token":"t","lowest":1,"window":262144,"ttl":60000}`, id)...)
	if way != "stream" {
		w.Write(welcome)
		return
	}
	s.write(w, append(appendPart(nil, partPad, make([]byte, 100)...), welcome...))
	for {
		select {
		case echo := <-b.ready:
			s.write(w, echo)
		case <-r.Context().Done():
			return
		}
	}
}

func (s *resumer) changed(b []byte) []byte {
	if s.change == nil {
		return b
	}
	return s.change(s.polls, b)
}

func (s *resumer) write(w http.ResponseWriter, b []byte) {
	step := len(b)
	if s.split {
		step = 1
	}
	for piece := range chunksOf(b, step) {
		w.Write(piece)
		w.(http.Flusher).Flush()
	}
}

func chunksOf(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 && yield(b[:min(n, len(b))]) {
			b = b[min(n, len(b)):]
		}
	}
}

// goesOn takes a body that begins with CONTINUE; nil says that it is wrong.
func (s *resumer) goesOn(body []byte) *box {
	kind, who, rest, err := cutPart(body)
	if err != nil || kind != partContinue || len(who) < 4 || who[0] != 1 || int(who[1])+2 > len(who) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.boxes[string(who[2:2+who[1]])]
	if b == nil || string(who[2+who[1]:]) != "\x01t" || len(rest) == 0 || rest[0] != partAck || b.side.takeAll(rest) != nil {
		return nil
	}
	return b
}

// serve serves s until the test's end.
func (s *resumer) serve(t *testing.T) (addr string) {
	s.boxes = map[string]*box{}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

var ways = []Way{PollAndSend, PollAlone, StreamAndSend}

func TestCallsAreCounted(t *testing.T) {
	for _, way := range ways {
		for _, split := range []bool{false, true} {
			s := resumer{split: split}
			addr := s.serve(t)
			r := rig(t)
			w, err := r.Call(addr, 10, 64, way)
			if err != nil {
				t.Fatalf("way %d: %v", way, err)
			}
			sent, got := w.Wire()
			n, took, err := w.Echo(50 * time.Millisecond)
			if err != nil || n < 10 || took < 50*time.Millisecond {
				t.Errorf("way %d: %d echoes in %v, %v; want 10 at least in 50ms", way, n, took, err)
			}
			nowSent, nowGot := w.Wire()
			if nowSent-sent < n*64 || nowGot-got < n*64 {
				t.Errorf("way %d: %d echoes of 64 bytes by %d and %d on the wire", way, n, nowSent-sent, nowGot-got)
			}
			r.Close()
			s.mu.Lock()
			if n != s.polls || len(s.boxes) != 10 {
				t.Errorf("way %d: %d echoes of which the server sent %d in %d sessions; want as many, in 10", way, n, s.polls, len(s.boxes))
			}
			s.mu.Unlock()
		}
	}
}

// partWrongs are what a server can do to an ACK and a DATA with a payload of 64 bytes.
var partWrongs = map[string]func([]byte) []byte{
	"flips a payload's last bit":  func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
	"flips the payload's first":   func(b []byte) []byte { b[len(b)-64] ^= 0x80; return b },
	"says it twice":               func(b []byte) []byte { return append(bytes.Clone(b), b...) },
	"makes text of it":            func(b []byte) []byte { b[len(b)-67] = 0; return b },
	"has more of it":              func(b []byte) []byte { b[len(b)-67] = 3; return b },
	"leaves a number out":         func(b []byte) []byte { b[len(b)-66]++; return b },
	"begins within it":            func(b []byte) []byte { b[len(b)-65] = 1; return b },
	"acknowledges what is to be":  func(b []byte) []byte { b[2] += 100; return b },
	"holds a part of nothing":     func(b []byte) []byte { b[4] = 1; return b },
	"sends a frame of no type":    func(b []byte) []byte { return append(bytes.Clone(b), 99, 0) },
	"says that the session ended": func(b []byte) []byte { return append(bytes.Clone(b), 4, 2, '{', '}') },
	"welcomes it again":           func(b []byte) []byte { return append(bytes.Clone(b), 2, 2, '{', '}') },
	"sends a web page":            func([]byte) []byte { return []byte("<html>") },
}

// few says that a session is new enough for partWrongs: its numbers have one byte.
func few(b []byte) bool { return len(b) == 5+5+64 }

func TestWrongCallsAreCaught(t *testing.T) {
	for name, wrong := range partWrongs {
		for _, way := range ways {
			s := resumer{change: func(n int, b []byte) []byte {
				if n < 10 || !few(b) {
					return b
				}
				return wrong(b)
			}}
			addr := s.serve(t)
			r := rig(t)
			w, err := r.Call(addr, 3, 64, way)
			if err != nil {
				t.Fatalf("%s: %v while it did not yet", name, err)
			}
			if _, _, err := w.Echo(5 * time.Second); err == nil {
				t.Errorf("way %d: a server that %s was not noticed", way, name)
			}
			r.Close()
		}
	}
}

func TestWrongAnswersToSendsAreCaught(t *testing.T) {
	for name, wrong := range map[string]func([]byte) []byte{
		"drops what it had": func(b []byte) []byte { b[2]--; return b },
		"says nothing":      func([]byte) []byte { return nil },
		"says ok":           func([]byte) []byte { return []byte("ok") },
		"stops within":      func(b []byte) []byte { return append(b, partData) },
	} {
		for _, way := range []Way{PollAndSend, StreamAndSend} {
			s := resumer{sends: wrong}
			r := rig(t)
			w, err := r.Call(s.serve(t), 3, 64, way)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := w.Echo(5 * time.Second); err == nil {
				t.Errorf("way %d: a server that %s was not noticed", way, name)
			}
			r.Close()
		}
	}
}

func TestHangingCallsWait(t *testing.T) {
	for _, way := range ways {
		var s resumer
		addr := s.serve(t)
		r := rig(t)
		w, err := r.Hang(addr, 20, way)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Idle(10 * time.Millisecond); err != nil {
			t.Errorf("way %d: %v", way, err)
		}
		if n := r.count(); n != 20 {
			t.Errorf("way %d: %d connections of 20 clients; want one each", way, n)
		}
		s.mu.Lock()
		for id, b := range s.boxes {
			if way == StreamAndSend && b.side.handed != 1 { // the poll that acknowledges may still be on its way
				t.Errorf("way %d: %s acknowledged %d; want its echo", way, id, b.side.handed)
			}
			b.ready <- b.side.say(b.side.ack(nil), []byte("nobody asked"))
		}
		s.mu.Unlock()
		if err := r.l.within(10*time.Second, "", func() bool { return false }); err == nil || !strings.Contains(err.Error(), "nobody sent") {
			t.Errorf("way %d: got %v; want that a message came unasked", way, err)
		}
		if w.done != 0 {
			t.Errorf("way %d: %d echoes were counted; want none", way, w.done)
		}
		r.Close()
	}
}

// count is how many sockets r has beside its backend's listener.
func (r *Rig) count() (n int) {
	for _, s := range r.l.socks {
		if s != nil {
			n++
		}
	}
	return n - 1
}

func TestChunks(t *testing.T) {
	const one = "5\r\nhello\r\n"
	for n := range len(one) {
		if chunk, _, err := cutChunk([]byte(one[:n])); !errors.Is(err, errShort) {
			t.Errorf("%q was read as %q, %v", one[:n], chunk, err)
		}
	}
	if chunk, rest, err := cutChunk([]byte(one + "1")); string(chunk) != "hello" || string(rest) != "1" || err != nil {
		t.Errorf("got %q, %q, %v; want hello, and what follows", chunk, rest, err)
	}
	for _, bad := range []string{"x\r\n", "-1\r\n", "0\r\n\r\n", "2\r\nokay\r\n", "ffffffff\r\n", strings.Repeat("1", 20)} {
		if chunk, _, err := cutChunk([]byte(bad)); err == nil || errors.Is(err, errShort) {
			t.Errorf("%q was read as %q, %v", bad, chunk, err)
		}
	}
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	if rest, err := begun([]byte(head + "5")); string(rest) != "5" || err != nil {
		t.Errorf("got %q, %v; want what follows the head", rest, err)
	}
	for _, bad := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 503 No\r\n\r\n", strings.Repeat("x", mostHead+1)} {
		if _, err := begun([]byte(bad)); err == nil || errors.Is(err, errShort) {
			t.Errorf("%.60q began a stream: %v", bad, err)
		}
	}
}

// The answers of a poll and of a send overtake each other.
func TestLateAcknowledgementsAreNoFault(t *testing.T) {
	a := talk{session: "s", said: 54}
	for _, c := range []struct {
		ack  []byte
		fine bool
	}{
		{[]byte{54, 0, 0}, true}, {[]byte{53, 1, 0}, true}, {[]byte{52, 0, 0}, true},
		{[]byte{54, 1, 0}, false}, {[]byte{55, 0, 0}, false}, {[]byte{53, 0, 1}, false}, {[]byte{53, 0}, false}, {[]byte{53, 0, 0, 0}, false},
	} {
		if err := a.act(partAck, c.ack); (err == nil) != c.fine || a.handed != 54 || a.taken != 54 {
			t.Errorf("%v: %v, then %d handed on and %d taken; want 54 of both, and that it is fine: %v", c.ack, err, a.handed, a.taken, c.fine)
		}
	}
}
