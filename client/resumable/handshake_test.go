package resumable

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
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

// Who may not open for long enough to see all fail is told what hangs, too.
func TestOpeningTellsOfWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.f.set(wire.WebSocket, hanging)
		r.f.set(wire.Stream, refused)
		r.f.set(wire.Poll, refused)
		o := r.options()
		o.OpenTimeout = 5 * time.Second
		start := time.Now()
		_, err := Dial(t.Context(), "ws://server.test/", o)
		if took := time.Since(start); !errors.Is(err, ErrUnreachable) || took != o.OpenTimeout {
			t.Fatalf("Dial: %v after %v; want ErrUnreachable after %v", err, took, o.OpenTimeout)
		}
		for _, what := range []string{"websocket: no answer", "stream: answered with status 403", "poll: answered with status 403"} {
			if !strings.Contains(err.Error(), what) {
				t.Errorf("%q does not tell of %q", err, what)
			}
		}
	})
}

// A server that chooses a subprotocol which nobody offered fails the connection (RFC 6455
// §4.1), be it the first or the plain one.
func TestSubprotocolThatWasNotOffered(t *testing.T) {
	for name, offers := range map[string][]string{"none": nil, "another": {"chat"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int32
				r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					asked.Add(1)
					c, err := (&websocket.Upgrader{}).Upgrade(w, q, http.Header{"Sec-Websocket-Protocol": {"Chat"}})
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					c.ReadMessage()
				}))
				o := r.options(WebSocket)
				o.Subprotocols = offers
				c, err := Dial(t.Context(), "ws://server.test/", o)
				if !errors.Is(err, ErrUnreachable) || asked.Load() != 2 {
					t.Errorf("Dial: %v behind %d handshakes; want ErrUnreachable behind 2", err, asked.Load())
				}
				if c != nil {
					c.CloseNow()
				}
			})
		})
	}
}
