package resumable

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

// dumb lets a WELCOME through and the ACK behind it, and nothing more.
func (f *fake) dumb(kind wire.Kind) func(http.ResponseWriter, *http.Request) bool {
	ack := wire.Ack{}.Append(nil)
	if kind == wire.WebSocket {
		return func(w http.ResponseWriter, q *http.Request) bool {
			socket(w, q, func(c *websocket.Conn, p []byte) {
				f.welcomes(c, p)
				c.WriteMessage(websocket.BinaryMessage, ack)
				toTheEnd(c)
			})
			return true
		}
	}
	return func(w http.ResponseWriter, q *http.Request) bool {
		body, _ := io.ReadAll(q.Body)
		hello, rest, _ := wire.Split(body)
		s, _, answer := f.attach(hello.Body)
		s.body(rest)
		w.Header().Set("Content-Type", wire.ContentType)
		w.Write(append(answer, ack...))
		w.(http.Flusher).Flush()
		<-q.Context().Done()
		return true
	}
}

// A network may let each WELCOME through, and nothing behind it: what is silent again and
// again leaves the next kind its turn.
func TestSilentBehindEachWelcome(t *testing.T) {
	for _, test := range []struct {
		dumb wire.Kind
		then Transport
		most time.Duration
	}{{wire.WebSocket, Stream, 100 * time.Second}, {wire.Stream, Poll, 70 * time.Second}} {
		t.Run(string(test.dumb), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				c := r.open(r.options(Transport(test.dumb), test.then))
				r.echo(c, "hello")
				time.Sleep(25 * time.Second)
				r.f.set(test.dumb, r.f.dumb(test.dumb))
				start := time.Now()
				r.cut()
				synctest.Wait()
				r.echo(c, "back")
				if took := time.Since(start); took > test.most || c.Transport() != test.then {
					t.Errorf("back after %v by %q; want %v at most, by %q", took, c.Transport(), test.most, test.then)
				}
				time.Sleep(time.Second)
				if noWebSocket, noStream := c.o.Memory.known("server.test", time.Now()); noWebSocket != (test.dumb == wire.WebSocket) || noStream != (test.dumb == wire.Stream) {
					t.Errorf("WebSocket is thought blocked: %v, streams: %v", noWebSocket, noStream)
				}
			})
		})
	}
}

// A stream that is silent is lost, though sends beside it are answered.
func TestSilentStreamBesideSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c := r.open(r.options(Stream))
		r.echo(c, "hello")
		time.Sleep(5 * time.Second)
		r.f.set(wire.Stream, r.f.dumb(wire.Stream))
		r.cut()
		synctest.Wait()
		r.f.set(wire.Stream, nil)
		before, start := len(r.f.said()), time.Now()
		for time.Since(start) < time.Minute && len(r.f.said()) == before {
			if err := c.Write(t.Context(), Text, []byte("x")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
		}
		if took := time.Since(start); took > 33*time.Second {
			t.Errorf("the next stream came after %v; want heartbeat and timeout, 30s", took)
		}
	})
}
