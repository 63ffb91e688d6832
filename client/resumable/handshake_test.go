package resumable

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
)

// Headers without an end in the answer to a handshake do not fill the memory.
func TestEndlessHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := make(chan int, 10)
		r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.Write([]byte("HTTP/1.1 101 Switching Protocols\r\n"))
			n, line := 0, append(make([]byte, 0, 8<<10), "A: "...)
			line = append(line, make([]byte, 8<<10-5)...)
			for i := 3; i < len(line); i++ {
				line[i] = 'x'
			}
			for line = append(line, "\r\n"...); n < 16<<20 && err == nil; n += len(line) {
				_, err = c.Write(line)
			}
			sent <- n
		}))
		if _, err := Dial(context.Background(), "ws://server.test/", r.options(WebSocket)); err == nil {
			t.Error("Dial: no error")
		}
		if n := <-sent; n > maxHandshake+64<<10 {
			t.Errorf("the client read %d bytes of headers; want %d at most", n, maxHandshake)
		}
	})
}
