package resumable

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/protocol/resume/wire"
)

// A vector is a conversation that all clients share.
type vector struct {
	Name  string `json:"name"`
	Steps []step `json:"steps"`
}

// A step is one message, request or answer of it.
type step struct {
	From       string    `json:"from"`
	Carrier    wire.Kind `json:"carrier"`
	Generation uint64    `json:"generation"`
	Lost       bool      `json:"lost"` // with its carrier
	Hex        string    `json:"hex"`
}

func vectors(t *testing.T) (all map[string][]step, names []string) {
	t.Helper()
	b, err := os.ReadFile("../../protocol/resume/wire/testdata/exchanges.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Exchanges []vector }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	all = map[string][]step{}
	for _, v := range file.Exchanges {
		all[v.Name] = v.Steps
		names = append(names, v.Name)
	}
	return all, names
}

// A playing is what a client and its application do for a vector. Some begin in the midst
// of a session, so steps of others are played before them.
type playing struct {
	kinds     []Transport
	protocols []string
	hang      int // so many WebSockets hang
	before    func(all map[string][]step) []step
	app       func(t *testing.T, c *Conn, p *player)
}

const (
	oneSocket  = "one WebSocket: open, talk, close"
	byPoll     = "opening by long-poll, since WebSocket hangs; both ways in one request, then an empty answer"
	makeBefore = "from a stream to a WebSocket, make before break"
)

var playings = map[string]playing{
	oneSocket: {
		kinds: []Transport{WebSocket}, protocols: []string{"chat"},
		app: func(t *testing.T, c *Conn, _ *player) {
			say(t, c, "hello")
			hear(t, c, "hello to you")
			if got := c.Subprotocol(); got != "chat" {
				t.Errorf("subprotocol %q; want chat", got)
			}
			if err := c.Close(1000, "bye"); err != nil {
				t.Errorf("Close: %v", err)
			}
		},
	},
	"a WebSocket is cut, and the next resumes; message 2 is sent again, and message 2 of the backend too": {
		kinds: []Transport{WebSocket},
		app:   func(t *testing.T, c *Conn, _ *player) { say(t, c, "a", "b"); hear(t, c, "A", "B") },
	},
	byPoll: {
		kinds: []Transport{WebSocket, Poll}, hang: 1,
		app: func(t *testing.T, c *Conn, _ *player) { say(t, c, "a"); hear(t, c, "A") },
	},
	"two requests overtake each other: message 2 is dropped, told, and sent again": {
		kinds: []Transport{WebSocket, Poll}, hang: 1,
		before: func(all map[string][]step) []step { return all[byPoll][:2] },
		app: func(t *testing.T, c *Conn, p *player) {
			time.Sleep(time.Microsecond)
			p.failSend() // so that message 1 goes by the poll, which is late
			say(t, c, "a")
			time.Sleep(10 * time.Millisecond)
			p.nextPoll()
			say(t, c, "b")
		},
	},
	makeBefore: {
		kinds: []Transport{WebSocket, Stream}, hang: 1,
		app: func(t *testing.T, c *Conn, _ *player) { hear(t, c, "A"); say(t, c, "a"); hear(t, c, "B") },
	},
	"coming back too late": {
		kinds: []Transport{WebSocket, Stream}, hang: 1,
		before: func(all map[string][]step) []step { return slices.Concat(all[makeBefore], []step{{From: "cut"}}) },
		app: func(t *testing.T, c *Conn, _ *player) {
			hear(t, c, "A")
			say(t, c, "a")
			hear(t, c, "B")
			wantGone(t, c, "expired")
		},
	},
	"a page that is left: the last request waits for nothing": {
		kinds: []Transport{WebSocket, Poll}, hang: 1,
		before: func(all map[string][]step) []step { return all[byPoll][:5] },
		app: func(t *testing.T, c *Conn, _ *player) {
			say(t, c, "a")
			hear(t, c, "A")
			time.Sleep(10 * time.Millisecond) // for the next poll
			c.CloseNow()
		},
	},
	"drain": {
		kinds: []Transport{WebSocket}, protocols: []string{"chat"},
		before: func(all map[string][]step) []step { return slices.Concat(all[oneSocket][:2], []step{seven()}) },
		app: func(t *testing.T, c *Conn, _ *player) {
			hear(t, c, "1", "2", "3", "4", "5", "6", "7")
			var end *CloseError
			if _, _, err := c.Read(t.Context()); !errors.As(err, &end) || end.Code != 1001 {
				t.Errorf("Read: %v; want 1001", err)
			}
		},
	},
}

func say(t *testing.T, c *Conn, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := c.Write(t.Context(), Text, []byte(text)); err != nil {
			t.Errorf("Write: %v", err)
		}
	}
}

func hear(t *testing.T, c *Conn, texts ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, text := range texts {
		if _, p, err := c.Read(ctx); err != nil || string(p) != text {
			t.Errorf("Read: %q, %v; want %q", p, err, text)
		}
	}
}

// All the exchanges that clients share, each against a server that knows nothing else.
func TestVectors(t *testing.T) {
	all, names := vectors(t)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			how, ok := playings[name]
			if !ok {
				t.Fatal("nobody plays it")
			}
			steps := all[name]
			if how.before != nil {
				steps = slices.Concat(how.before(all), steps)
			}
			synctest.Test(t, func(t *testing.T) { play(t, steps, how) })
		})
	}
}

func play(t *testing.T, steps []step, how playing) {
	p := newPlayer(t, how.hang)
	r := newRig(t, http.Handler(p))
	played := make(chan struct{})
	go func() {
		defer close(played)
		for i, s := range steps {
			if !p.step(s) {
				t.Errorf("step %d of %d was not played", i, len(steps))
				return
			}
		}
	}()
	o := r.options(how.kinds...)
	o.Subprotocols = how.protocols
	c := r.open(o)
	how.app(t, c, p)
	<-played
	close(p.over)
	c.CloseNow()
	r.cut()
}
