package resumable

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"testing"
	"testing/synctest"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

// A vector is a conversation that all clients share.
type vector struct {
	Name  string `json:"name"`
	Steps []struct {
		From string `json:"from"`
		Hex  string `json:"hex"`
	} `json:"steps"`
}

func vectorNamed(t *testing.T, name string) vector {
	t.Helper()
	b, err := os.ReadFile("../../protocol/resume/wire/testdata/exchanges.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Exchanges []vector }
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for _, v := range all.Exchanges {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("no exchange %q", name)
	return vector{}
}

// said are frames that do not depend on when something is acknowledged.
func saidBy(t *testing.T, p []byte) (frames []wire.Frame) {
	for len(p) > 0 {
		f, rest, err := wire.Split(p)
		if err != nil {
			t.Fatalf("%x: %v", p, err)
		}
		if p = rest; f.Type != wire.TypeAck {
			frames = append(frames, f)
		}
	}
	return frames
}

// play is the vector's server: it waits for what the client must say, and answers.
func (v vector) play(t *testing.T, c *websocket.Conn) {
	for i, step := range v.Steps {
		p, err := hex.DecodeString(step.Hex)
		if err != nil {
			t.Error(err)
		}
		if step.From == "server" {
			c.WriteMessage(websocket.BinaryMessage, p)
			continue
		}
		for want := saidBy(t, p); len(want) > 0; {
			_, p, err := c.ReadMessage()
			if err != nil {
				t.Errorf("step %d: %v; want %v", i, err, want[0].Type)
				return
			}
			for _, got := range saidBy(t, p) {
				if len(want) == 0 || !alike(got, want[0]) {
					t.Errorf("step %d: %v %q; want %v", i, got.Type, got.Body, want)
					return
				}
				want = want[1:]
			}
		}
	}
}

// alike compares frames; of a HELLO all but the secret that each client makes.
func alike(got, want wire.Frame) bool {
	if got.Type != wire.TypeHello || want.Type != wire.TypeHello {
		return got.Type == want.Type && string(got.Body) == string(want.Body)
	}
	a, err := wire.ParseHello(got.Body)
	b, err2 := wire.ParseHello(want.Body)
	if err != nil || err2 != nil {
		return false
	}
	a.Attempt = b.Attempt
	p, _ := a.Append(nil)
	q, _ := b.Append(nil)
	return string(p) == string(q)
}

func TestVectorOfOneWebSocket(t *testing.T) {
	v := vectorNamed(t, "one WebSocket: open, talk, close")
	synctest.Test(t, func(t *testing.T) {
		played := make(chan struct{})
		r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			up := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}
			if c, err := up.Upgrade(w, q, nil); err == nil {
				v.play(t, c)
				close(played)
				c.ReadMessage()
				c.Close()
			}
		}))
		o := r.options(WebSocket)
		o.Subprotocols = []string{"chat"}
		c := r.open(o)
		ctx := context.Background()
		if err := c.Write(ctx, Text, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, p, err := c.Read(ctx); err != nil || string(p) != "hello to you" || c.Subprotocol() != "chat" {
			t.Errorf("Read: %q, %v, by %q; want %q by chat", p, err, c.Subprotocol(), "hello to you")
		}
		if err := c.Close(1000, "bye"); err != nil {
			t.Errorf("Close: %v", err)
		}
		<-played
	})
}
