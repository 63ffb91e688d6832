package demo

import (
	"context"
	"fmt"
	"time"

	"sidecar/client/resumable"
)

// What a resumable session has to survive.
const (
	cuts       = 3
	healthyFor = 300 * time.Millisecond // before each fault
	refusedFor = 1500 * time.Millisecond
	stalledFor = 3 * time.Second
	// A client goes over to HTTP 2 s behind a WebSocket that hangs, at the latest.
	opensIn = 3 * time.Second
)

// resumptions are checks of resumable sessions, with the project's own client: each
// carrier under each fault, messages going both ways.
var resumptions = []check{
	{"resume: websocket cut", survives(cut, resumable.WebSocket)},
	{"resume: websocket blocked", survives(block, resumable.WebSocket, resumable.Stream, resumable.Poll)},
	{"resume: websocket stalled", survives(stall, resumable.WebSocket)},
	{"resume: stream cut", survives(cut, resumable.Stream)},
	{"resume: stream blocked", survives(block, resumable.Stream, resumable.WebSocket)},
	{"resume: stream stalled", survives(stall, resumable.Stream)},
	{"resume: poll cut", survives(cut, resumable.Poll)},
	{"resume: poll blocked", survives(block, resumable.Poll, resumable.WebSocket)},
	{"resume: poll stalled", survives(stall, resumable.Poll)},
	{"resume: no WebSocket at all", opensWithoutWebSocket},
}

// cut ends connections in the midst of their bytes.
func cut(ctx context.Context, t *talk) (string, error) {
	var worst time.Duration
	for range cuts {
		if err := pause(ctx, healthyFor); err != nil {
			return "", err
		}
		var before, after int
		t.link.do(func() { before = t.link.cuts })
		t.link.cut()
		took, err := t.back(ctx)
		if err != nil {
			return "", err
		}
		if t.link.do(func() { after = t.link.cuts }); after == before {
			return "", fmt.Errorf("messages passed, and no connection was cut")
		}
		worst = max(worst, took)
	}
	return fmt.Sprintf("%d cuts, each over after %v at most", cuts, worst.Round(time.Millisecond)), nil
}

// block refuses all connections for a while, then those of WebSockets only, and then
// ends all once more and has those hang. A session that is not by WebSocket had to do
// without it from the beginning.
func block(ctx context.Context, t *talk) (string, error) {
	if err := pause(ctx, healthyFor); err != nil {
		return "", err
	}
	t.link.do(func() { t.link.refuses, t.link.blocks, t.link.hangs = true, true, false })
	t.link.end()
	if err := pause(ctx, refusedFor); err != nil {
		return "", err
	}
	if by := t.Transport(); by != resumable.None {
		return "", fmt.Errorf("there is a %s where all is blocked", by)
	}
	t.link.do(func() { t.link.refuses = false })
	took, err := t.back(ctx)
	if err != nil {
		return "", err
	}
	t.link.do(func() { t.link.hangs = true })
	t.link.end()
	hung, err := t.back(ctx)
	if err != nil {
		return "", err
	}
	by := t.Transport()
	if by == resumable.WebSocket || t.first != resumable.WebSocket && by != t.first {
		return "", fmt.Errorf("it goes on by %q where WebSockets hang; it was a %s", by, t.first)
	}
	return fmt.Sprintf("none for %v, then by %s after %v and %v", refusedFor, by,
		took.Round(time.Millisecond), hung.Round(time.Millisecond)), nil
}

// stall stops all bytes, and ends no connection.
func stall(ctx context.Context, t *talk) (string, error) {
	if err := pause(ctx, healthyFor); err != nil {
		return "", err
	}
	t.link.stall()
	err := pause(ctx, stalledFor/2) // for what was received already
	came := t.came.Load()
	if err == nil {
		err = pause(ctx, stalledFor/2)
	}
	if more := t.came.Load() - came; err == nil && more > 0 {
		err = fmt.Errorf("%d messages came where no byte did", more)
	}
	t.link.flow()
	if err != nil {
		return "", err
	}
	took, err := t.back(ctx)
	return fmt.Sprintf("no byte for %v, then on after %v", stalledFor, took.Round(time.Millisecond)), err
}

// opensWithoutWebSocket opens twice: where WebSockets are refused, and where they hang.
func opensWithoutWebSocket(ctx context.Context, t *target) (string, error) {
	refused, err := t.opensBy(ctx, false)
	if err != nil {
		return "", fmt.Errorf("refused: %w", err)
	}
	hanging, err := t.opensBy(ctx, true)
	if err != nil {
		return "", fmt.Errorf("hanging: %w", err)
	}
	return fmt.Sprintf("refused: %s; hanging: %s", refused, hanging), nil
}

// opensBy wants a session by HTTP in time, and one message there and back.
func (t *target) opensBy(ctx context.Context, hangs bool) (string, error) {
	l := newLink(t.dial)
	l.blocks, l.hangs = true, hangs
	start := time.Now()
	c, err := t.resume(ctx, l, "/echo?blocked")
	if err != nil {
		return "", err
	}
	defer c.end(true)
	took := time.Since(start).Round(time.Millisecond)
	by := c.Transport()
	if by != resumable.Stream && by != resumable.Poll {
		return "", fmt.Errorf("opened by %q; want HTTP", by)
	}
	if took > opensIn {
		return "", fmt.Errorf("opened after %v; want at most %v", took, opensIn)
	}
	if err := c.Write(ctx, resumable.Text, numbered(1)); err != nil {
		return "", fmt.Errorf("sending: %w", err)
	}
	_, p, err := c.Read(ctx)
	if err != nil {
		return "", fmt.Errorf("receiving: %w", err)
	}
	if string(p) != string(numbered(1)) {
		return "", fmt.Errorf("got %s; want %s", brief(p), brief(numbered(1)))
	}
	return fmt.Sprintf("%s after %v", by, took), nil
}

// pause waits within ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
