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

// A stream that is asked for a sign of life may be over before the answer is late: whatever
// is in use by then was not asked.
func TestCheckOfAStreamThatEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.f.welcome.Rotate = 8000
		r.f.set(wire.WebSocket, refused)
		o := r.options(WebSocket, Stream)
		var changes times
		o.OnTransport = func(now Transport, why error) {
			if changes.add(); now == None && len(changes.list()) > 3 {
				t.Errorf("the WebSocket was lost: %v", why)
			}
		}
		c := r.open(o)
		r.echo(c, "hello")
		time.Sleep(7900 * time.Millisecond)
		r.f.set(wire.WebSocket, nil)
		r.f.set(wire.Stream, hanging)
		c.CheckNetwork()
		time.Sleep(1900 * time.Millisecond)
		if c.Transport() != WebSocket {
			t.Fatalf("transport %q; want websocket", c.Transport())
		}
		before := len(r.f.said())
		time.Sleep(10 * time.Second)
		if c.Transport() != WebSocket || len(r.f.said()) != before {
			t.Errorf("transport %q, %d carriers more; want the same WebSocket", c.Transport(), len(r.f.said())-before)
		}
	})
}

// A check has its 2 s: a radio that wakes needs more than a stream has to begin elsewhere.
func TestCheckOfAStreamThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		o := r.options(Stream, Poll)
		o.OnTransport = func(now Transport, why error) {
			if now != Stream {
				t.Errorf("transport %q: %v", now, why)
			}
		}
		c := r.open(o)
		r.echo(c, "hello")
		r.f.set(wire.Stream, func(_ http.ResponseWriter, q *http.Request) bool {
			time.Sleep(askedTwice - 100*time.Millisecond)
			return false
		})
		before := len(r.f.said())
		c.CheckNetwork()
		time.Sleep(5 * time.Second)
		if n := len(r.f.said()) - before; n != 1 {
			t.Errorf("%d carriers more; want the one that asked", n)
		}
		r.echo(c, "all is well")
	})
}

// leaving says GOAWAY behind each WELCOME, and cuts.
func (f *fake) leaving(within uint64, welcomed *times) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, q *http.Request) bool {
		socket(w, q, func(c *websocket.Conn, p []byte) {
			welcomed.add()
			f.welcomes(c, p)
			c.WriteMessage(websocket.BinaryMessage, wire.AppendPing(wire.AppendGoaway(nil, within), nil))
			ponged(c)
		})
		return true
	}
}

// A server that stops, and says so to each who comes back, is not asked all the time.
func TestCutBehindGoaway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c := r.open(r.options(WebSocket))
		r.echo(c, "hello")
		time.Sleep(2 * time.Second)
		var welcomed times
		r.f.set(wire.WebSocket, r.f.leaving(2, &welcomed))
		r.cut()
		time.Sleep(10 * time.Second)
		if n := len(welcomed.list()); n < 5 || n > 40 {
			t.Errorf("%d carriers in 10 s; want 5 to 40", n)
		}
		r.f.set(wire.WebSocket, nil)
		r.echo(c, "all is well")
	})
}

// startedOnly lets the first bytes of an answer through, and no more.
func startedOnly(w http.ResponseWriter, q *http.Request) bool {
	io.Copy(io.Discard, q.Body)
	w.Header().Set("Content-Type", wire.ContentType)
	w.Write(wire.AppendPad(nil, 2048))
	w.(http.Flusher).Flush()
	<-q.Context().Done()
	return true
}

// A stream that begins and never brings its WELCOME keeps nobody from a poll.
func TestOpeningBesideAStreamThatOnlyBegins(t *testing.T) {
	for name, hook := range map[string]func(http.ResponseWriter, *http.Request) bool{"refused": refused, "hanging": hanging} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				r.f.set(wire.WebSocket, hook)
				r.f.set(wire.Stream, startedOnly)
				start := time.Now()
				c := r.open(r.options())
				if took := time.Since(start); took < besideStream || took > 7*time.Second || c.Transport() != Poll {
					t.Errorf("open after %v by %q; want 5s to 7s by poll", took, c.Transport())
				}
				r.echo(c, "hello")
				time.Sleep(2 * time.Minute) // probes hang too
				r.echo(c, "still there")
				c.mu.Lock()
				defer c.mu.Unlock()
				if len(c.carriers) > 2 {
					t.Errorf("%d carriers live; want the poll and a probe", len(c.carriers))
				}
			})
		})
	}
}

// welcomedOnly is a WebSocket of which nothing comes behind the WELCOME, and nothing gets up.
func (f *fake) welcomedOnly(asked *times) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, q *http.Request) bool {
		socket(w, q, func(c *websocket.Conn, p []byte) {
			asked.add()
			f.welcomes(c, p)
			toTheEnd(c)
		})
		return true
	}
}

// A WebSocket that is welcomed, and silent when it was moved to, is left for what worked
// before; and three of them count as blocked.
func TestMovingToAWebSocketThatIsSilent(t *testing.T) {
	for _, kind := range []Transport{Stream, Poll} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				var asked times
				r.f.set(wire.WebSocket, refused)
				c := r.open(r.options(WebSocket, kind))
				r.f.set(wire.WebSocket, r.f.welcomedOnly(&asked))
				for range killedTimes {
					n := len(asked.list())
					for len(asked.list()) == n {
						time.Sleep(time.Second)
					}
					start := time.Now()
					r.echo(c, "by what worked")
					if took := time.Since(start); took > raceOn+time.Second {
						t.Errorf("an echo took %v; want %v at most", took, raceOn+time.Second)
					}
				}
				if no, _ := c.o.Memory.known("server.test", time.Now()); !no || c.Transport() != kind {
					t.Errorf("transport %q, blocked %v; want %q, and that it counts as blocked", c.Transport(), no, kind)
				}
			})
		})
	}
}

// Where a server asks for no heartbeat a WebSocket is silent for as long as it likes; but one
// that is moved to, or asked, has to answer.
func TestSilenceWithoutAHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.f.welcome.Heartbeat = 0
		var asked times
		r.f.set(wire.WebSocket, refused)
		c := r.open(r.options(WebSocket, Stream))
		r.f.set(wire.WebSocket, r.f.welcomedOnly(&asked))
		for len(asked.list()) == 0 {
			time.Sleep(time.Second)
		}
		start := time.Now()
		r.echo(c, "by what worked")
		if took := time.Since(start); took > raceOn || len(asked.list()) != 1 {
			t.Errorf("an echo took %v behind %d WebSockets; want %v at most, behind 1", took, len(asked.list()), raceOn)
		}
		r.f.set(wire.WebSocket, nil)
		time.Sleep(probeEvery)
		before := len(r.f.said())
		time.Sleep(time.Hour)
		c.CheckNetwork()
		time.Sleep(time.Minute)
		if n := len(r.f.said()) - before; n != 0 || c.Transport() != WebSocket {
			t.Errorf("transport %q, %d carriers more; want the same WebSocket", c.Transport(), n)
		}
		r.blackhole(true)
		c.CheckNetwork()
		time.Sleep(askedTwice)
		synctest.Wait()
		if c.Transport() == WebSocket {
			t.Error("a WebSocket that does not answer is kept")
		}
		r.blackhole(false)
	})
}
