package test

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/gorilla/websocket"
)

// hear takes a report in.
func (c *stock) hear(r report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.What == "message" {
		c.in = append(c.in, r)
		c.got++
	} else {
		r.Got = c.got
		c.seen = append(c.seen, r)
		c.over = c.over || r.What == "close"
	}
	c.wake.Broadcast()
}

// await waits for a report, or for the close, and reports which it was.
func (c *stock) await(what string) (report, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := 0; ; {
		for ; i < len(c.seen); i++ {
			if c.seen[i].What == what || c.seen[i].What == "close" {
				return c.seen[i], c.seen[i].What == what
			}
		}
		c.wake.Wait()
	}
}

// saw is what the client reported up to now, messages left out.
func (c *stock) saw() []report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]report(nil), c.seen...)
}

func (c *stock) ReadMessage() (int, []byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.in) == 0 && !c.over {
		c.wake.Wait()
	}
	if len(c.in) == 0 {
		last := c.seen[len(c.seen)-1]
		if last.Reason == "forced close" {
			return 0, nil, errLeft
		}
		return 0, nil, fmt.Errorf("the client says: %v", last)
	}
	r := c.in[0]
	c.in = c.in[1:]
	if r.Text != nil {
		return websocket.TextMessage, []byte(*r.Text), nil
	}
	b, err := base64.StdEncoding.DecodeString(*r.Bytes)
	return websocket.BinaryMessage, b, err
}

func (c *stock) WriteMessage(kind int, b []byte) error {
	c.mu.Lock()
	over := c.over
	c.mu.Unlock()
	if over {
		return errLeft
	}
	if kind == websocket.BinaryMessage {
		return c.d.tell(map[string]any{"do": "send", "n": c.n, "bytes": base64.StdEncoding.EncodeToString(b)})
	}
	return c.d.tell(map[string]any{"do": "send", "n": c.n, "text": string(b)})
}

// WriteControl leaves.
func (c *stock) WriteControl(int, []byte, time.Time) error { return c.Close() }

func (c *stock) Close() error { return c.d.tell(map[string]any{"do": "close", "n": c.n}) }
