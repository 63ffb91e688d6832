package test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/test/history"
)

// random is a source of chance; E2E_SEED replays a run.
func random(t testing.TB) (uint64, *rand.Rand) {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("E2E_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	// Not by t.Log, which a timeout of the whole run would swallow.
	fmt.Printf("%s: E2E_SEED=%d\n", t.Name(), seed)
	return seed, rand.New(rand.NewPCG(seed, 0))
}

// reset ends a line's connections by a RST.
func reset(c line) {
	if e, ok := c.(*engine); ok {
		e.reset()
		return
	}
	conn := c.(*websocket.Conn).NetConn()
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// leave sends a close with 1000.
func (p *peer) leave() {
	p.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "done"), time.Now().Add(patience))
}

// echoTo sends back what arrives, until the connection ends. All that arrives
// must be of this session; a connection that ends is no fault.
func echoTo(b *websocket.Conn, id string, p plan) error {
	defer b.Close()
	for i := 0; ; i++ {
		if p.breaks == 2 && i == p.after {
			reset(b)
		}
		kind, m, err := b.ReadMessage()
		if err != nil {
			return nil
		}
		if s, _, err := history.Parse(m); err != nil || s.Session != id {
			return fmt.Errorf("the backend got a message of %v (%v)", s, err)
		}
		if b.WriteMessage(kind, m) != nil {
			return nil
		}
	}
}
