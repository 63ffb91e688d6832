package resumable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/protocol/resume/wire"
)

// A server may name a window of any size: what is kept for it is bounded all the same.
func TestWindowOfAServerIsBounded(t *testing.T) {
	for own, want := range map[int]int{0: 16, 20 << 20: 20} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			r.f.welcome.Window = wire.MaxNumber
			o := r.options(WebSocket)
			o.Window = own
			c := r.open(o)
			s := r.f.only()
			s.do(func() { s.busy = true })
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var err error
			large := make([]byte, 1<<20)
			for n := 0; err == nil && n < 64; n++ {
				err = c.Write(ctx, Binary, large)
			}
			if got := c.Buffered(); !errors.Is(err, context.DeadlineExceeded) || got != int64(want)<<20 {
				t.Errorf("own window %d: %d bytes are kept, %v; want %d MiB, and a wait", own, got, err, want)
			}
		})
	}
}

// windowed answers HELLOs with a WELCOME of that window.
func (f *fake) windowed(window string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, q *http.Request) bool {
		if q.Header.Get("Sec-WebSocket-Protocol") == "" { // a plain one would do
			return refused(w, q)
		}
		upgraded(w, q, func(p []byte) []byte {
			hello, _, _ := wire.Split(p)
			_, _, answer := f.attach(hello.Body)
			welcome, _, _ := wire.Split(answer)
			body := bytes.Replace(welcome.Body, []byte(`"window":65536`), []byte(window), 1)
			return append([]byte{byte(wire.TypeWelcome), byte(len(body)&0x7f | 0x80), byte(len(body) >> 7)}, body...)
		})
		return true
	}
}

// A WELCOME with a window in which nothing could be sent is none: an opening fails, and a
// session waits for a better one.
func TestWindowOfNothing(t *testing.T) {
	for _, window := range []string{`"window":0`, `"window":4095`, `"window":-1`, `"window":9007199254740992`, `"windows":65536`} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			r.f.set(wire.WebSocket, r.f.windowed(window))
			_, err := Dial(t.Context(), "ws://server.test/", r.options(WebSocket))
			if !errors.Is(err, ErrUnreachable) || !errors.Is(err, wire.ErrBody) {
				t.Errorf("%s: Dial: %v; want ErrUnreachable for a bad WELCOME", window, err)
			}
			r.f.set(wire.WebSocket, nil)
			c := r.open(r.options(WebSocket))
			r.echo(c, "hello")
			before := len(r.f.said())
			r.f.set(wire.WebSocket, r.f.windowed(window))
			r.cut()
			time.Sleep(10 * time.Second)
			if n := len(r.f.said()) - before; n < 2 || n > 40 {
				t.Errorf("%s: %d HELLOs in 10 s; want 2 to 40, by back-off", window, n)
			}
			r.f.set(wire.WebSocket, nil)
			r.echo(c, fmt.Sprint("the session lives behind ", window))
		})
	}
}
