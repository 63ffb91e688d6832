package resumable

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/protocol/resume/wire"
)

// abortOnce ends the connection of the next request of a kind, which was read, without an
// answer: so it looks to a client where a connection that was idle has died.
func (r *rig) abortOnce(kind wire.Kind) {
	r.f.set(kind, func(http.ResponseWriter, *http.Request) bool {
		r.f.set(kind, nil)
		panic(http.ErrAbortHandler)
	})
}

// A request that gets no answer on a connection that has served before goes again at once,
// be it a send or a HELLO: nothing is lost, and nobody waits.
func TestRequestOnADeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		o := r.options(Stream)
		o.OnTransport = func(now Transport, why error) {
			if now == None {
				t.Errorf("the stream was lost: %v", why)
			}
		}
		c := r.open(o)
		r.echo(c, "by a connection that is there from now on")
		start := time.Now()
		r.abortOnce(wire.Send)
		r.echo(c, "by the next one")
		if took := time.Since(start); took != 0 {
			t.Errorf("the send came %v late; want at once", took)
		}
		r.abortOnce(wire.Stream)
		time.Sleep(time.Minute) // the stream ends, and the next is begun
		start = time.Now()
		r.echo(c, "by the next stream")
		if took := time.Since(start); took != 0 || len(r.f.said()) != 2 {
			t.Errorf("the echo took %v, and there were %d HELLOs; want none and 2", took, len(r.f.said()))
		}
		if s := r.f.only(); s.got != 3 {
			t.Errorf("the backend got %d messages; want 3", s.got)
		}
	})
}

// The ACK that the server counts as told may be in an answer that is lost. A client whose
// window is full, and of which the server has all, has nothing to send again: it asks.
func TestLostAnswerWithTheLastAck(t *testing.T) {
	for _, test := range []struct {
		kind Transport
		lost wire.Kind
	}{{Stream, wire.Send}, {Poll, wire.Send}, {Poll, wire.Poll}} {
		t.Run(string(test.kind)+"/"+string(test.lost), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				r.f.app = func(*talk, message) {} // it says nothing
				c := r.open(r.options(test.kind))
				s := r.f.only()
				s.do(func() { s.busy = true })
				synctest.Wait()
				r.f.set(test.lost, func(w http.ResponseWriter, q *http.Request) bool {
					r.f.set(test.lost, nil)
					if test.lost == wire.Send { // a poll would be held
						r.f.ServeHTTP(&lostAnswer{header: http.Header{}}, q)
						s.do(s.in.untold) // another answer says that all is there
					}
					time.Sleep(100 * time.Millisecond)
					s.do(func() { s.busy = false; s.hand(); s.in.tell() })
					panic(http.ErrAbortHandler)
				})
				if err := c.Write(t.Context(), Binary, make([]byte, 70_000)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				s.do(func() { s.polls++ }) // the poll that is held is answered
				start := time.Now()
				if err := c.Write(t.Context(), Binary, nil); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took > 3*time.Second {
					t.Errorf("there was room after %v; want at most 3s", took)
				}
			})
		})
	}
}

// What goes with a stream's HELLO may be dropped, as where the server's memory is short. No
// answer says so: the client asks.
func TestDroppedBehindAStreamsHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c := r.open(r.options(Stream))
		r.echo(c, "hello")
		time.Sleep(2 * time.Second)
		dropped := 0
		r.f.set(wire.Stream, func(_ http.ResponseWriter, q *http.Request) bool {
			body, err := io.ReadAll(q.Body)
			_, rest, _ := wire.Split(body)
			dropped += len(rest)
			q.Body = io.NopCloser(bytes.NewReader(body[:len(body)-len(rest)]))
			return err != nil
		})
		r.breakDown(errors.New("no network"))
		r.cut()
		synctest.Wait()
		start := time.Now()
		if err := c.Write(t.Context(), Text, []byte("dropped")); err != nil {
			t.Fatal(err)
		}
		r.breakDown(nil)
		c.CheckNetwork()
		if _, p, err := c.Read(t.Context()); err != nil || string(p) != "dropped" {
			t.Errorf("Read: %q, %v; want what was dropped", p, err)
		}
		if took := time.Since(start); took > time.Second || dropped == 0 {
			t.Errorf("back after %v, %d bytes dropped; want 1s at most, and some", took, dropped)
		}
	})
}
