package test

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/test/history"
)

// hasty is a session whose client sends its next request the moment it has the
// answer, over another connection than the one of before.
type hasty struct {
	e    *engine
	hops [2]hop
	b    *websocket.Conn
	h    *history.History
	up   history.Stream
	down history.Stream
}

func (r *rig) hasty(t *testing.T, id string, closing bool) *hasty {
	t.Helper()
	e := newEngine(r.addr, r.addr, "id="+id)
	e.get.closing = closing
	status, body, err := e.get.do("GET", e.target("polling"), nil)
	if err != nil || status != 200 {
		t.Fatalf("opening: %d %s %v", status, body, err)
	}
	if err := e.greet(body); err != nil {
		t.Fatal(err)
	}
	y := &hasty{e: e, h: r.h, b: within(t, patience, "the backend's end", r.arrivals.of(id)),
		up: history.Stream{Session: id, Dir: history.Up}, down: history.Stream{Session: id, Dir: history.Down}}
	for i := range y.hops {
		y.hops[i] = hop{addr: e.addr, host: e.host, closing: closing}
	}
	t.Cleanup(func() {
		y.hops[0].close(false)
		y.hops[1].close(false)
		y.e.Close()
		y.b.Close()
	})
	return y
}

// poll polls n times. The message that it gets is sent, in turn, before the poll
// and while it is held.
func (y *hasty) poll(n int) error {
	for i := range n {
		m := y.h.Send(y.down, 40)
		hop := &y.hops[i%2]
		if i%3 == 0 {
			if err := y.b.WriteMessage(websocket.TextMessage, m); err != nil {
				return err
			}
		}
		if err := hop.send("GET", y.e.target("polling"), nil); err != nil {
			return err
		}
		if i%3 != 0 {
			if err := y.b.WriteMessage(websocket.TextMessage, m); err != nil {
				return err
			}
		}
		status, body, err := hop.answer("GET")
		if err != nil || status != 200 || !bytes.HasPrefix(body, []byte("4")) {
			return fmt.Errorf("poll %d got %d %q, %v", i, status, body, err)
		}
		y.h.Receive(y.down, body[1:])
	}
	return nil
}

// post posts n times, while the backend reads.
func (y *hasty) post(n int) error {
	for i := range n {
		status, body, err := y.hops[i%2].do("POST", y.e.target("polling"), append([]byte("4"), y.h.Send(y.up, 40)...))
		if err != nil || status != 200 || string(body) != "ok" {
			return fmt.Errorf("POST %d got %d %q, %v", i, status, body, err)
		}
		_, m, err := y.b.ReadMessage()
		if err != nil {
			return err
		}
		y.h.Receive(y.up, m)
	}
	return nil
}

// rounds is n, or ten times that in a long run.
func rounds(n int) int {
	if os.Getenv("E2E_LONG") != "" {
		return 10 * n
	}
	return n
}

// A poll right behind the answer to the one before is never told that another
// one is open, nor a POST that another one is under way.
func TestImmediateRepoll(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		play    func(*hasty, int) error
		closing bool // no connection has more than one request
		n       int
	}{
		{"poll", (*hasty).poll, false, rounds(10_000)},
		{"poll, closing", (*hasty).poll, true, rounds(500)},
		{"post", (*hasty).post, false, rounds(3000)},
		{"post, closing", (*hasty).post, true, rounds(500)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const sessions = 4
			r := newEngineRig(t, overPolling, engineSettings(time.Hour, time.Hour))
			var wg sync.WaitGroup
			for i := range sessions {
				y := r.hasty(t, fmt.Sprintf("s%d", i), c.closing)
				wg.Go(func() {
					if err := c.play(y, c.n/sessions); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			r.wantClean(t)
		})
	}
}
