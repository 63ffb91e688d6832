package demo

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/gorilla/websocket"
)

// enginePolls sends all at once, so that they share a body.
func enginePolls(ctx context.Context, t *target) (string, error) {
	s, err := t.engine(ctx)
	if err != nil {
		return "", err
	}
	packets := []string{"4grüße, 世界 🌍", "b" + base64.StdEncoding.EncodeToString([]byte{0, 30, 255})}
	for n := 1; n <= 100; n++ {
		packets = append(packets, "4"+string(numbered(n)))
	}
	if err := s.post(ctx, packets...); err != nil {
		return "", err
	}
	polls, err := s.expect(ctx, packets)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d messages in one request, and back in %d", len(packets), polls), s.post(ctx, "1")
}

func engineSockets(ctx context.Context, t *target) (string, error) {
	c, err := t.open(ctx, engineSocket, offer{})
	if err != nil {
		return "", err
	}
	defer c.end()
	_, p, err := c.ReadMessage()
	if err != nil {
		return "", fmt.Errorf("receiving: %w", err)
	}
	if _, err := readOpening(string(p)); err != nil {
		return "", err
	}
	if err := c.echo(websocket.TextMessage, []byte("4grüße, 世界 🌍")); err != nil {
		return "", err
	}
	return "text and binary there and back", c.echo(websocket.BinaryMessage, []byte{0, 30, 255})
}

// engineUpgrades does as the stock client does, and has a message under way
// meanwhile, which must not be lost.
func engineUpgrades(ctx context.Context, t *target) (string, error) {
	s, err := t.engine(ctx)
	if err != nil {
		return "", err
	}
	c, err := t.open(ctx, s.path(engineSocket), offer{})
	if err != nil {
		return "", err
	}
	defer c.end()
	if err := s.probe(ctx, c); err != nil {
		return "", err
	}
	if err := s.post(ctx, "4before"); err != nil {
		return "", err
	}
	if err := c.WriteMessage(websocket.TextMessage, []byte("5")); err != nil {
		return "", fmt.Errorf("sending: %w", err)
	}
	if err := c.expect(websocket.TextMessage, []byte("4before")); err != nil {
		return "", err
	}
	return "the poll ended, and no message was lost", c.echo(websocket.TextMessage, []byte("4after"))
}

// probe tries the WebSocket with a poll under way, which must then end.
func (s *engineSession) probe(ctx context.Context, c *client) error {
	type answer struct {
		packets []string
		err     error
	}
	polled := make(chan answer, 1)
	go func() {
		packets, err := s.poll(ctx)
		polled <- answer{packets, err}
	}()
	err := c.WriteMessage(websocket.TextMessage, []byte("2probe"))
	if err == nil {
		err = c.expect(websocket.TextMessage, []byte("3probe"))
	}
	if err != nil {
		return fmt.Errorf("probing: %w", err)
	}
	a := <-polled
	if a.err != nil {
		return a.err
	}
	if len(a.packets) != 1 || a.packets[0] != "6" {
		return fmt.Errorf("the poll that waited ended with %q; want \"6\"", a.packets)
	}
	return nil
}
