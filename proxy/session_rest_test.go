package proxy

import (
	"maps"
	"net"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// hopReaders are the numbers of the goroutines that read hops.
func hopReaders() map[string]bool {
	b := make([]byte, 1<<20)
	b = b[:runtime.Stack(b, true)]
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^goroutine (\d+) .*(?:\n.+)+`).FindAllSubmatch(b, -1) {
		if strings.Contains(string(m[0]), "(*hop).run(") {
			ids[string(m[1])] = true
		}
	}
	return ids
}

// settled waits until there are two readers besides others, and ok says so.
func settled(t *testing.T, what string, others map[string]bool, ok func(map[string]bool) bool) map[string]bool {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-tick.C {
		now := hopReaders()
		maps.DeleteFunc(now, func(id string, _ bool) bool { return others[id] })
		if len(now) == 2 && ok(now) {
			return now
		}
	}
	t.Fatalf("%s: not in ten seconds; readers %v", what, hopReaders())
	return nil
}

// said has an echo come back on c.
func said(t *testing.T, c net.Conn) {
	t.Helper()
	c.Write(rawFrame(0x80|opText, "hello", true))
	var got [7]byte
	if _, err := c.Read(got[:]); err != nil || string(got[2:]) != "hello" {
		t.Fatalf("got %q, %v", got, err)
	}
}

// A reader that was woken after a pause has a new goroutine wait, whose stack is
// small; one that is kept busy goes on.
func TestReaderRestsOnASmallStack(t *testing.T) {
	others := hopReaders() // of other tests' sessions
	h, addr := costHall(t, echoBackend(t))
	h.t = t
	defer h.front.Close()
	defer h.empty()
	c := call(t, addr)
	defer c.Close()
	before := settled(t, "opening", others, func(map[string]bool) bool { return true })
	said(t, c)
	after := settled(t, "resting after the first message", others, func(now map[string]bool) bool {
		for id := range before {
			if now[id] {
				return false
			}
		}
		return true
	})
	begun := time.Now()
	for range 10 {
		said(t, c)
	}
	if now := settled(t, "the last of ten", others, func(map[string]bool) bool { return true }); time.Since(begun) < pause/2 && !maps.Equal(now, after) {
		t.Errorf("readers %v are kept busy, and then %v; want the same", after, now)
	}
}
