package demo

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/gorilla/websocket"
)

// apart is how far apart two things must arrive that are sent a second apart:
// nearer, and somebody has kept the first one back.
const apart = 500 * time.Millisecond

func ticks(ctx context.Context, t *target) (string, error) {
	c, err := t.open(ctx, "/ticker", offer{})
	if err != nil {
		return "", err
	}
	defer c.end()
	var last time.Time
	for n := 1; n <= 3; n++ {
		var got tick
		if err := c.decode(&got); err != nil {
			return "", err
		}
		if got.N != n {
			return "", fmt.Errorf("got tick %d; want %d", got.N, n)
		}
		now := time.Now()
		if gap := now.Sub(last); gap < apart {
			return "", fmt.Errorf("tick %d came %v after the one before; want about 1s", n, gap.Round(time.Millisecond))
		}
		last = now
	}
	return "3 ticks, a second apart", nil
}

// chats has names of its own, so that others in the room do not disturb it.
func chats(ctx context.Context, t *target) (string, error) {
	ann, ben := "Ann "+rand.Text()[:8], "Ben "+rand.Text()[:8]
	a, err := t.enter(ctx, ann)
	if err != nil {
		return "", err
	}
	defer a.end()
	b, err := t.enter(ctx, ben)
	if err != nil {
		return "", err
	}
	defer b.end()
	if err := exchange(a, b, ann, "hello "+ben); err != nil {
		return "", err
	}
	if err := exchange(b, a, ben, "hello "+ann); err != nil {
		return "", err
	}
	b.end()
	if err := a.await(event{Type: "leave", Name: ben}); err != nil {
		return "", err
	}
	return "both heard each other, and one leave", nil
}

// enter joins the chat and waits until the room says so.
func (t *target) enter(ctx context.Context, name string) (*client, error) {
	c, err := t.open(ctx, "/chat?name="+url.QueryEscape(name), offer{})
	if err != nil {
		return nil, err
	}
	if err := c.await(event{Type: "join", Name: name}); err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

// exchange has one say text and the other hear it.
func exchange(from, to *client, name, text string) error {
	if err := from.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	return to.await(event{Type: "message", Name: name, Text: text})
}

// await reads until want comes; its number of members does not matter.
func (c *client) await(want event) error {
	for {
		var got event
		if err := c.decode(&got); err != nil {
			return fmt.Errorf("awaiting the %s of %q: %w", want.Type, want.Name, err)
		}
		if want.Members = got.Members; got == want {
			return nil
		}
	}
}

func passesHTTP(ctx context.Context, t *target) (string, error) {
	resp, err := t.get(ctx, "/api/hello")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var got greeting
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&got); err != nil {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	if got.Message != "hello" || got.Host != t.host {
		return "", fmt.Errorf("got %q for host %q; want \"hello\" for %q", got.Message, got.Host, t.host)
	}
	return fmt.Sprintf("%q, asked for as %q", got.Message, got.Host), nil
}

// streamsHTTP wants the lines as they are sent: all at once, however late, would
// mean that somebody collects the answer first.
func streamsHTTP(ctx context.Context, t *target) (string, error) {
	resp, err := t.get(ctx, "/api/stream")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(io.LimitReader(resp.Body, maxAnswer))
	var first time.Time
	for n := 1; n <= streamLines; n++ {
		line, err := lines.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("line %d of %d: %w", n, streamLines, err)
		}
		if want := streamLine(n); line != want {
			return "", fmt.Errorf("got %s; want %s", brief([]byte(line)), brief([]byte(want)))
		}
		if n == 1 {
			first = time.Now()
		}
	}
	over := time.Since(first)
	if want := (streamLines - 1) * streamPause / 2; over < want {
		return "", fmt.Errorf("all lines came within %v; want them over at least %v", over.Round(time.Millisecond), want)
	}
	return fmt.Sprintf("%d lines over %v", streamLines, over.Round(10*time.Millisecond)), nil
}
