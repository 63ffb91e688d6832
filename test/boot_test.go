package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecar/config"
	"sidecar/server"
)

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

// settingsBefore is a sidecar.yaml for any free ports, with what a test adds.
func settingsBefore(upstream, level, more string) string {
	text := fmt.Sprintf("listen: 127.0.0.1:0\nops: {listen: \"127.0.0.1:0\"}\nupstream: ws://%s\n", upstream)
	if !strings.Contains(more, "log:") {
		text += "log: {level: " + level + ", format: json}\n"
	}
	if !strings.Contains(more, "drain:") {
		text += "drain: {for: 1s}\n" // closes are spread over most of it, and every test ends with a drain
	}
	return text + more
}

// An instance is a sidecar in this process.
type instance struct {
	addr, ops string // host:port
	log       *output
	end       context.CancelFunc
	ended     chan error // what Run returned
}

// boot runs a sidecar with these settings before the upstream at host:port. It
// is drained, and must end well, when the test does.
func boot(t testing.TB, upstream, settings string) *instance {
	t.Helper()
	text := settingsBefore(upstream, "debug", settings)
	c, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatalf("the test's settings: %v\n%s", err, text)
	}
	log := new(output)
	s, err := server.Environment{Stderr: log}.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	i := &instance{addr: s.Addrs()[0].String(), ops: s.OpsAddr().String(), log: log, end: cancel, ended: make(chan error, 1)}
	go func() { i.ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-i.ended; err != nil && !errors.Is(err, server.ErrDrain) {
			t.Errorf("running the sidecar: %v", err)
		}
		if t.Failed() {
			t.Logf("the sidecar's log:\n%s", tail(log.String(), 12))
		}
	})
	return i
}

// An output keeps what a program prints, and may be read meanwhile.
type output struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	change chan struct{} // closed at the next write, where somebody waits
	ended  chan struct{} // closed when no more will come; nil: never
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.change != nil {
		close(o.change)
		o.change = nil
	}
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// line waits for a whole line that contains all of the parts.
func (o *output) line(t testing.TB, parts ...string) string {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		o.mu.Lock()
		text := o.buf.String()
		if o.change == nil {
			o.change = make(chan struct{})
		}
		change := o.change
		o.mu.Unlock()
		if l, ok := find(text, parts); ok {
			return l
		}
		select {
		case <-change:
			continue
		case <-o.ended:
			if l, ok := find(o.String(), parts); ok {
				return l
			}
			t.Fatalf("ended without a line with %q:\n%s", parts, tail(text, 12))
		case <-late.C:
			t.Fatalf("no line with %q in:\n%s", parts, tail(text, 60))
		}
	}
}

func find(text string, parts []string) (string, bool) {
lines:
	for l := range strings.Lines(text) {
		for _, p := range parts {
			if !strings.Contains(l, p) || !strings.HasSuffix(l, "\n") {
				continue lines
			}
		}
		return strings.TrimSuffix(l, "\n"), true
	}
	return "", false
}

func tail(s string, lines int) string {
	all := strings.SplitAfter(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// within waits for c, and fails the test if nothing comes in time.
func within[T any](t testing.TB, d time.Duration, what string, c <-chan T) T {
	t.Helper()
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case v := <-c:
		return v
	case <-late.C:
		t.Fatalf("%s: nothing within %v", what, d)
	}
	panic("unreachable")
}

// ask makes one plain HTTP/1.1 request over a connection of its own, written as
// given but for the head's end, and returns the whole answer.
func ask(t testing.TB, addr string, head ...string) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "%s\r\nHost: %s\r\nConnection: close\r\n\r\n", strings.Join(head, "\r\n"), addr)
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("asking %q: %v after %q", head, err, b)
	}
	return string(b)
}
