package acme

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

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
		if all := find(text, parts); len(all) > 0 {
			return all[0]
		}
		select {
		case <-change:
		case <-o.ended:
			if all := find(o.String(), parts); len(all) > 0 {
				return all[0]
			}
			t.Fatalf("ended without a line with %q:\n%s", parts, o)
		case <-late.C:
			t.Fatalf("no line with %q", parts)
		}
	}
}

// lines are the whole lines so far that contain all of the parts.
func (o *output) lines(parts ...string) []string { return find(o.String(), parts) }

func find(text string, parts []string) (found []string) {
lines:
	for l := range strings.Lines(text) {
		for _, p := range parts {
			if !strings.Contains(l, p) || !strings.HasSuffix(l, "\n") {
				continue lines
			}
		}
		found = append(found, strings.TrimSuffix(l, "\n"))
	}
	return found
}
