package engineio

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
)

// While an answer is on its way to a client that takes nothing, its messages are kept
// by the session and in the answer, and nowhere else.
func TestAnAnswerIsKeptOnce(t *testing.T) {
	const size = 12 << 20 // more than the kernel takes
	inBothWays(t, func(t *testing.T, r *rig) {
		c := r.polling()
		backend := r.back.next()
		slow, err := net.Dial("tcp", r.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer slow.Close()
		slow.(*net.TCPConn).SetReadBuffer(4 << 10)
		fmt.Fprintf(slow, "GET /engine.io/?%s HTTP/1.1\r\nHost: a\r\n\r\n", c.query())
		e := c.engine()
		state := func(is func() bool) func() bool {
			return func() bool {
				e.mu.Lock()
				defer e.mu.Unlock()
				return is()
			}
		}
		eventually(t, "the poll is held", true, state(func() bool { return e.poll != nil }))
		m := strings.Repeat("x", size)
		before := heap()
		backend.say(m)
		eventually(t, "an answer is on its way", true, state(func() bool { return e.writing == 1 }))
		eventually(t, "no more than two and a half times its size is kept", true, func() bool { return heap()-before < size*5/2 })
		runtime.KeepAlive(m)
	}, func(r *rig) { r.h.Desk.WriteTimeout = 2 * patience })
}

// heap is what is in use of it.
func heap() int64 {
	var m runtime.MemStats
	for range 3 { // pools are emptied by the second
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
