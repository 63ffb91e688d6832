package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

func echoesText(ctx context.Context, t *target) (string, error) {
	return t.echoes(ctx, websocket.TextMessage, []byte("grüße, 世界 🌍"), offer{})
}

func echoesBinary(ctx context.Context, t *target) (string, error) {
	p := make([]byte, 256)
	for i := range p {
		p[i] = byte(i)
	}
	return t.echoes(ctx, websocket.BinaryMessage, p, offer{})
}

func echoesLarge(ctx context.Context, t *target) (string, error) {
	p := make([]byte, 1<<20)
	rand.Read(p)
	return t.echoes(ctx, websocket.BinaryMessage, p, offer{})
}

// echoes sends one message and wants it back.
func (t *target) echoes(ctx context.Context, kind int, p []byte, o offer) (string, error) {
	c, err := t.open(ctx, "/echo", o)
	if err != nil {
		return "", err
	}
	defer c.end()
	return fmt.Sprintf("%d bytes there and back", len(p)), c.echo(kind, p)
}

// echoesInOrder sends without waiting, so that all are under way at once.
func echoesInOrder(ctx context.Context, t *target) (string, error) {
	const messages = 1000
	c, err := t.open(ctx, "/echo", offer{})
	if err != nil {
		return "", err
	}
	sent := make(chan error, 1)
	go func() { sent <- c.count(messages) }()
	err = c.expectCount(messages)
	c.end() // which also ends a count that is stuck
	if failed := <-sent; err == nil {
		err = failed
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("all %d, each in its place", messages), nil
}

func numbered(n int) []byte { return fmt.Appendf(nil, "message %d", n) }

// count sends numbered messages from 1 to last.
func (c *client) count(last int) error {
	for n := 1; n <= last; n++ {
		if err := c.WriteMessage(websocket.TextMessage, numbered(n)); err != nil {
			return fmt.Errorf("sending %d: %w", n, err)
		}
	}
	return nil
}

func (c *client) expectCount(last int) error {
	for n := 1; n <= last; n++ {
		if err := c.expect(websocket.TextMessage, numbered(n)); err != nil {
			return fmt.Errorf("message %d of %d: %w", n, last, err)
		}
	}
	return nil
}

func agreesDeflate(ctx context.Context, t *target) (string, error) {
	c, err := t.open(ctx, "/echo", offer{deflate: true})
	if err != nil {
		return "", err
	}
	defer c.end()
	agreed := c.head.Get("Sec-WebSocket-Extensions")
	if !strings.HasPrefix(agreed, "permessage-deflate") {
		return "", fmt.Errorf("extensions agreed are %q; want permessage-deflate", agreed)
	}
	return agreed, c.echo(websocket.TextMessage, bytes.Repeat([]byte("again and "), 10_000))
}

func agreesSubprotocol(ctx context.Context, t *target) (string, error) {
	c, err := t.open(ctx, "/echo", offer{subprotocols: []string{"demo.v0", Subprotocol}})
	if err != nil {
		return "", err
	}
	defer c.end()
	if got := c.Subprotocol(); got != Subprotocol {
		return "", fmt.Errorf("subprotocol agreed is %q; want %q", got, Subprotocol)
	}
	return "agreed on " + Subprotocol, nil
}

func passesRefusal(ctx context.Context, t *target) (string, error) {
	const status = http.StatusUnauthorized
	return t.refuses(ctx, fmt.Sprintf("/refuse?status=%d", status), offer{}, status, refusalBody(status))
}

// refusesForeignOrigin is the one that a Backend alone cannot pass.
func refusesForeignOrigin(ctx context.Context, t *target) (string, error) {
	return t.refuses(ctx, "/echo", offer{origin: "https://foreign.example"}, http.StatusForbidden, "")
}

// refuses wants a handshake refused with status, and with body unless it is "".
func (t *target) refuses(ctx context.Context, path string, o offer, status int, body string) (string, error) {
	c, err := t.open(ctx, path, o)
	if err == nil {
		c.end()
		return "", fmt.Errorf("the handshake was accepted; want %d", status)
	}
	var got *refusal
	if !errors.As(err, &got) {
		return "", err
	}
	if got.status != status || body != "" && got.body != body {
		return "", fmt.Errorf("%w; want %d %q", err, status, body)
	}
	return fmt.Sprintf("%d %q", got.status, got.body), nil
}

func passesCloseDown(ctx context.Context, t *target) (string, error) {
	return t.closes(ctx, "/close?code=4001&reason=goodbye", closing{4001, "goodbye"}, nil)
}

// passesCloseUp knows from the answer that the backend saw code and reason.
func passesCloseUp(ctx context.Context, t *target) (string, error) {
	return t.closes(ctx, "/close", closing{4002, "heard farewell"}, func(c *client) error {
		p := websocket.FormatCloseMessage(4002, "farewell")
		return c.WriteControl(websocket.CloseMessage, p, time.Now().Add(checkIn))
	})
}

// closes opens path, does what comes first, and wants the connection closed so.
func (t *target) closes(ctx context.Context, path string, want closing, first func(*client) error) (string, error) {
	c, err := t.open(ctx, path, offer{})
	if err != nil {
		return "", err
	}
	defer c.end()
	if first != nil {
		if err := first(c); err != nil {
			return "", fmt.Errorf("sending: %w", err)
		}
	}
	_, _, err = c.ReadMessage()
	var got *websocket.CloseError
	if !errors.As(err, &got) {
		return "", fmt.Errorf("got %v; want a close with %d %q", err, want.code, want.reason)
	}
	if got.Code != want.code || got.Text != want.reason {
		return "", fmt.Errorf("closed with %d %q; want %d %q", got.Code, got.Text, want.code, want.reason)
	}
	return fmt.Sprintf("%d %q", got.Code, got.Text), nil
}

// errPonged is how the reading learns of the pong: it is no message.
var errPonged = errors.New("the pong came")

// answersPing has its own mark in the ping, so no other pong will do.
func answersPing(ctx context.Context, t *target) (string, error) {
	c, err := t.open(ctx, "/echo", offer{})
	if err != nil {
		return "", err
	}
	defer c.end()
	mark := rand.Text()
	c.SetPongHandler(func(p string) error {
		if p == mark {
			return errPonged
		}
		return nil
	})
	if err := c.WriteControl(websocket.PingMessage, []byte(mark), time.Now().Add(checkIn)); err != nil {
		return "", fmt.Errorf("sending: %w", err)
	}
	if _, p, err := c.ReadMessage(); !errors.Is(err, errPonged) {
		return "", fmt.Errorf("got %s, %v; want a pong with our mark", brief(p), err)
	}
	return "answered with our mark", nil
}
