package resumable

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

// What stands for no subprotocol is none (§3.1).
func TestPlainProtocolOfNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, plainServer(false, wire.NoSubprotocol))
		c := r.open(r.options())
		if c.Transport() != Plain || c.Subprotocol() != "" {
			t.Errorf("transport %q, subprotocol %q; want plain and none", c.Transport(), c.Subprotocol())
		}
	})
}

// An application that answers no POST keeps nobody from its WebSocket.
func TestPlainBesideRequestsThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain := plainServer(true)
		r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodPost {
				hanging(w, q)
				return
			}
			plain.ServeHTTP(w, q)
		}))
		start := time.Now()
		c := r.open(r.options())
		if took := time.Since(start); c.Transport() != Plain || took > 7*time.Second {
			t.Errorf("transport %q after %v; want plain after 7s at most", c.Transport(), took)
		}
		r.echo(c, "hello")
	})
}

// Where a server of this protocol was met, all that fails is a network.
func TestNoPlainWhereASidecarAnswered(t *testing.T) {
	for name, set := range map[string]func(r *rig){
		"WebSocket": func(r *rig) {
			r.f.set(wire.WebSocket, refusedUnlessPlain(killed))
			r.f.set(wire.Stream, refused)
		},
		"stream": func(r *rig) {
			r.f.set(wire.WebSocket, refusedUnlessPlain(refused))
			r.f.set(wire.Stream, func(w http.ResponseWriter, q *http.Request) bool {
				io.Copy(io.Discard, q.Body)
				w.Header().Set("Content-Type", wire.ContentType)
				w.Write(wire.AppendPad(nil, 2048))
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				r.f.set(wire.Poll, refused)
				set(r)
				c, err := Dial(t.Context(), "ws://server.test/", r.options())
				if !errors.Is(err, ErrUnreachable) {
					t.Errorf("Dial: %v; want ErrUnreachable", err)
				}
				if c != nil {
					c.CloseNow()
				}
			})
		})
	}
}

// A backend that is slow to say yes is waited for, where a WebSocket failed for the moment.
func TestNoPlainBesideASlowBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.f.set(wire.WebSocket, refusedUnlessPlain(badGateway))
		r.f.set(wire.Poll, func(http.ResponseWriter, *http.Request) bool {
			r.f.set(wire.Poll, nil)
			time.Sleep(8 * time.Second)
			return false
		})
		c := r.open(r.options(WebSocket, Poll))
		if c.Transport() != Poll {
			t.Errorf("transport %q; want poll", c.Transport())
		}
		r.echo(c, "hello")
	})
}

// refusedUnlessPlain is a hook that only those meet who offer this protocol.
func refusedUnlessPlain(hook func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	plain := plainServer(false)
	return func(w http.ResponseWriter, q *http.Request) bool {
		if q.Header.Get("Sec-WebSocket-Protocol") != "" {
			return hook(w, q)
		}
		plain.ServeHTTP(w, q)
		return true
	}
}

// A text is UTF-8 by a plain WebSocket too.
func TestPlainTextThatIsNoUTF8(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan error, 1)
		r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			c, err := (&websocket.Upgrader{}).Upgrade(w, q, nil)
			if err != nil {
				return
			}
			defer c.Close()
			c.WriteMessage(websocket.TextMessage, []byte("\xff"))
			_, _, err = c.ReadMessage()
			told <- err
		}))
		c := r.open(r.options())
		if _, p, err := c.Read(t.Context()); err == nil {
			t.Errorf("Read: %q; want an error", p)
		}
		if err := <-told; !websocket.IsCloseError(err, websocket.CloseInvalidFramePayloadData) {
			t.Errorf("the server was told %v; want 1007", err)
		}
	})
}

// A watched connection shows what is written, and each deadline for it. What swallow takes
// goes no further.
type watched struct {
	net.Conn
	swallow  func() bool
	deadline func(past bool)
}

func (w *watched) Write(p []byte) (int, error) {
	if w.swallow() {
		return len(p), nil
	}
	return w.Conn.Write(p)
}

func (w *watched) SetWriteDeadline(at time.Time) error {
	w.deadline(!at.IsZero() && at.Before(time.Now()))
	return w.Conn.SetWriteDeadline(at)
}

// openPlain opens a plain WebSocket by w, to a server that reads nothing for two seconds.
func openPlain(t *testing.T, w *watched) *Conn {
	r := newRig(t, http.HandlerFunc(func(rw http.ResponseWriter, q *http.Request) {
		c, err := (&websocket.Upgrader{}).Upgrade(rw, q, nil)
		if err != nil {
			return
		}
		defer c.Close()
		time.Sleep(2 * time.Second)
		for err == nil {
			_, _, err = c.ReadMessage()
		}
	}))
	t.Cleanup(func() { time.Sleep(2 * time.Second) })
	w.swallow, w.deadline = func() bool { return false }, func(bool) {}
	o := r.options(WebSocket)
	o.DialContext = func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		w.Conn, err = r.dial(ctx, network, addr)
		return w, err
	}
	return r.open(o)
}

// A context may end between two frames of a message: the write ends all the same.
func TestPlainWriteEndsBetweenFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watched
		c := openPlain(t, &w)
		ctx, cancel := context.WithCancel(t.Context())
		interrupted := make(chan struct{}, 1)
		w.deadline = func(past bool) {
			if past {
				signal(interrupted)
			}
		}
		frames := 0
		w.swallow = func() bool {
			if frames++; frames == 1 {
				cancel()
				<-interrupted
				time.Sleep(time.Millisecond) // until the deadline is set
			}
			return frames == 1
		}
		start := time.Now()
		err := c.Write(ctx, Binary, make([]byte, 100_000))
		if took := time.Since(start); !errors.Is(err, context.Canceled) || took > time.Second {
			t.Errorf("Write: %v after %v; want its context's end, at once", err, took)
		}
	})
}

// A context that ends with its message done is not felt by the next.
func TestPlainWriteIsNotInterruptedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watched
		c := openPlain(t, &w)
		ctx, cancel := context.WithCancel(t.Context())
		w.deadline = func(past bool) {
			if past {
				time.Sleep(time.Second)
			}
		}
		first := true
		w.swallow = func() bool {
			defer func() { first = false }()
			if first {
				cancel()
			}
			return first
		}
		if err := c.Write(ctx, Binary, []byte("done")); err != nil {
			t.Errorf("Write: %v", err)
		}
		if err := c.Write(t.Context(), Binary, []byte("the next")); err != nil {
			t.Errorf("the next Write: %v", err)
		}
	})
}
