package load

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// Resumable sessions over WebSocket: the plain backend echoes the frames of
// clients, and what they send is what a server would; but the HELLO.
func TestResumeOverWebSocket(t *testing.T) {
	const welcome = `{"version":1,"session":"s","token":"t","received":0,"lowest":1,"window":262144,"ttl":60000}`
	honest := func(n int, b []byte) []byte {
		switch {
		case n == 0:
			return bytes.Replace(b, []byte("\r\n\r\n"), []byte("\r\nSec-WebSocket-Protocol: "+resumeProtocol+"\r\n\r\n"), 1)
		case n == 1:
			return appendFrame(nil, opBinary, appendPart(nil, partWelcome, []byte(welcome)...), nil)
		case n == 2: // the first echo
			return append(appendFrame(nil, opBinary, appendPart(nil, partPing, 'x'), nil), b...)
		}
		return b
	}
	r := rig(t)
	var mu sync.Mutex
	var pongs, acks int
	w, err := r.OpenResume(through(t, r.Backend(), func(n int, b []byte) []byte {
		pong := appendFrame(nil, opBinary, appendPart(nil, partPong, 'x'), nil)
		mu.Lock()
		defer mu.Unlock()
		pongs += bytes.Count(b, pong)
		if len(b) == 7 || bytes.Contains(b, []byte{0x82, 5, partAck}) {
			acks++
		}
		return honest(n, bytes.ReplaceAll(b, pong, nil))
	}), 3, 64)
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := w.Echo(50 * time.Millisecond); err != nil || n < 3 {
		t.Errorf("%d echoes, %v; want 3 at least", n, err)
	}
	for _, c := range w.clients {
		if c.voice.talk.said != c.voice.talk.heard {
			t.Errorf("%d were said and %d heard", c.voice.talk.said, c.voice.talk.heard)
		}
	}
	r.Close()
	mu.Lock()
	defer mu.Unlock()
	if pongs != 3 || acks < 3 {
		t.Errorf("%d pongs to 3 pings, and %d last messages acknowledged; want 3 at least", pongs, acks)
	}
}

func TestWrongResumeOverWebSocketIsCaught(t *testing.T) {
	const welcome = `{"version":1,"session":"s","token":"t","lowest":1,"window":262144,"ttl":60000}`
	for name, wrong := range partWrongs {
		r := rig(t)
		w, err := r.OpenResume(through(t, r.Backend(), func(n int, b []byte) []byte {
			switch {
			case n == 0:
				return bytes.Replace(b, []byte("\r\n\r\n"), []byte("\r\nSec-WebSocket-Protocol: "+resumeProtocol+"\r\n\r\n"), 1)
			case n == 1:
				return appendFrame(nil, opBinary, appendPart(nil, partWelcome, []byte(welcome)...), nil)
			case n < 5 || len(b) < 2 || !few(b[2:]):
				return b
			}
			return appendFrame(nil, opBinary, wrong(bytes.Clone(b[2:])), nil)
		}), 3, 64)
		if err != nil {
			t.Fatalf("%s: %v while it did not yet", name, err)
		}
		if err := echoes(w); err == nil {
			t.Errorf("a server that %s was not noticed", name)
		}
		r.Close()
	}
	r := rig(t)
	if _, err := r.OpenResume(r.Backend(), 1, 64); err == nil || !strings.Contains(err.Error(), "subprotocol") {
		t.Errorf("got %v of a server that knows no resumable sessions; want that it chose no subprotocol", err)
	}
}

func TestFramesAreThoseOfTheVectors(t *testing.T) {
	file, err := os.ReadFile("../../protocol/resume/wire/testdata/frames.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Valid []struct {
			Name, Hex string
			Fill      int // so many bytes follow
		}
	}
	if err := json.Unmarshal(file, &all); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, v := range all.Valid {
		b, err := hex.DecodeString(v.Hex)
		if err != nil {
			t.Fatal(err)
		}
		known[v.Hex] = true
		b = append(b, make([]byte, v.Fill)...)
		kind, body, rest, err := cutPart(b)
		if err != nil || len(rest) > 0 || !bytes.Equal(appendPart(nil, kind, body...), b) {
			t.Errorf("%s: got type %d, %q, %v; want what it is made of", v.Name, kind, body, err)
		}
		for n := range min(len(b), 100) {
			if _, _, _, err := cutPart(b[:n]); !errors.Is(err, errShort) {
				t.Errorf("%s: got %v of %d bytes; want that it is not whole", v.Name, err, n)
			}
		}
	}
	if b := hex.EncodeToString((&talk{said: 1}).say(nil, []byte{0, 0xff})); !known[b] {
		t.Errorf("a message is sent as %s, which is none of the vectors", b)
	}
}

func TestFrontsAreThoseOfTheVectors(t *testing.T) {
	file, err := os.ReadFile("../../protocol/resume/wire/testdata/exchanges.json")
	if err != nil {
		t.Fatal(err)
	}
	a := talk{session: "K7Z2V4QJX5M3N6B1W8Y9T0R2PC", token: "AAECAwQFBgcICQoLDA0ODw", heard: 1}
	for heard := range uint64(3) {
		a.heard = heard
		b := a.front()
		b[2] = 2 // the generation in the vectors; it is 1 here
		if strings.Contains(string(file), `"`+hex.EncodeToString(b)) {
			return
		}
	}
	t.Errorf("no body of the vectors begins with %x", a.front())
}
