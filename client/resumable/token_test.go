package resumable

import (
	"testing"

	"sidecar/protocol/resume/wire"
)

// A WELCOME brings no newer token where its HELLO named another than the newest, or none
// when there is one by now (§5.4), though nobody has seen that token before.
func TestTokenOfALateWelcome(t *testing.T) {
	c, err := newConn("ws://server.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.cancel()
	for i, step := range []struct {
		named, brings, want string
	}{
		{"", "a", "a"},
		{"", "b", "a"}, // opened, and answered when there was a token
		{"a", "c", "c"},
		{"a", "d", "c"}, // answered late
		{"c", "c", "c"},
		{"c", "e", "e"},
	} {
		k := &carrier{c: c, kind: wire.Poll, token: step.named, wake: make(chan struct{}, 1), chosen: make(chan struct{}, 1)}
		w := &wire.Welcome{Version: 1, Session: "s", Token: step.brings, Position: wire.Position{Lowest: 1}, Window: 4096, TTL: 1}
		c.mu.Lock()
		err := c.welcomeLocked(k, w)
		c.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		if got := c.tokens.newest(); got != step.want {
			t.Errorf("step %d: a HELLO that named %q brought %q: the newest is %q; want %q", i, step.named, step.brings, got, step.want)
		}
	}
}
