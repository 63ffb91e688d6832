package resumable

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

// Times are when something happened, as a bubble's clock has it.
type times struct {
	mu  sync.Mutex
	all []time.Time
}

func (s *times) add() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, time.Now())
}

func (s *times) list() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.all...)
}

// noting counts what comes to a hook.
func noting(s *times, hook func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, q *http.Request) bool {
		s.add()
		return hook(w, q)
	}
}

// While a WebSocket hangs, the kinds that fail at once are tried again by back-off, and it
// goes on beside them.
func TestReconnectingBesideAWebSocketThatHangs(t *testing.T) {
	for _, kind := range []Transport{Stream, Poll} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				o := r.options(WebSocket, kind)
				o.MaxBackoff = 2 * time.Second
				c := r.open(o)
				r.echo(c, "hello")
				var sockets, tries times
				r.f.set(wire.WebSocket, noting(&sockets, hanging))
				r.f.set(wire.Kind(kind), noting(&tries, refused))
				start := time.Now()
				r.cut()
				time.Sleep(8 * time.Second)
				got := tries.list()
				if len(got) < 4 {
					t.Fatalf("%d tries by HTTP in 8 s; want 4 at least", len(got))
				}
				if first := got[0].Sub(start); first < 500*time.Millisecond || first > time.Second {
					t.Errorf("HTTP came %v after the WebSocket; want 500ms to 1s", first)
				}
				for i := 1; i < len(got); i++ {
					if gap, most := got[i].Sub(got[i-1]), backoff(500*time.Millisecond, 2*time.Second, i); gap > most {
						t.Errorf("try %d came %v after the last; want at most %v", i+1, gap, most)
					}
				}
				r.f.set(wire.Kind(kind), nil)
				r.echo(c, "by HTTP")
				if took, most := time.Since(got[len(got)-1]), 2*time.Second; took > most {
					t.Errorf("back %v after the last try; want at most %v", took, most)
				}
				if n := len(sockets.list()); n != 1 || c.Transport() != kind {
					t.Errorf("%d WebSockets were begun, transport %q; want 1 and %q", n, c.Transport(), kind)
				}
			})
		})
	}
}

// The one that hung is as good as any other when it gets through.
func TestAWebSocketThatHangsForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c := r.open(r.options())
		r.echo(c, "hello")
		var sockets times
		r.f.set(wire.WebSocket, noting(&sockets, func(http.ResponseWriter, *http.Request) bool {
			time.Sleep(7 * time.Second)
			return false
		}))
		r.f.set(wire.Stream, refused)
		r.f.set(wire.Poll, refused)
		start := time.Now()
		r.cut()
		r.echo(c, "back")
		if took := time.Since(start); took != 7*time.Second || c.Transport() != WebSocket {
			t.Errorf("back after %v by %q; want 7s by websocket", took, c.Transport())
		}
		if n := len(sockets.list()); n != 1 {
			t.Errorf("%d WebSockets were begun; want 1", n)
		}
	})
}

// A stream that cannot connect keeps a poll waiting for a head start and a back-off, and
// not for as long as it hangs.
func TestPollBesideAStreamThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		var start time.Time
		o := r.options(Stream, Poll)
		o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if time.Now().Equal(start) { // all that is begun with the stream
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return r.dial(ctx, network, addr)
		}
		c := r.open(o)
		r.echo(c, "hello")
		time.Sleep(10 * time.Second)
		start = time.Now()
		r.cut()
		synctest.Wait()
		r.echo(c, "back")
		if took := time.Since(start); took < 500*time.Millisecond || took > 1500*time.Millisecond {
			t.Errorf("back after %v; want 500ms to 1.5s", took)
		}
	})
}

// cutting ends each carrier behind its WELCOME and a PING: a stream as if it was rotated.
func (r *rig) cutting(kind Transport, welcomed *times) {
	r.f.set(wire.Kind(kind), func(w http.ResponseWriter, q *http.Request) bool {
		if kind == WebSocket {
			r.f.webSocketThatEnds(w, q, welcomed)
			return true
		}
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return true
		}
		ctx, cancel := context.WithCancel(q.Context())
		cancel()
		w.Header().Set("Content-Type", wire.ContentType)
		r.f.request(wire.Stream, w, q.WithContext(ctx), body)
		welcomed.carrier(r.f)
		w.Write(wire.AppendPing(nil, nil))
		return true
	})
}

// carrier notes the carrier that was welcomed last, unless its HELLO came again.
func (s *times) carrier(f *fake) {
	said := f.said()
	last := said[len(said)-1]
	if !slices.ContainsFunc(said[:len(said)-1], func(h wire.Hello) bool { return h.Generation == last.Generation }) {
		s.add()
	}
}

func (f *fake) webSocketThatEnds(w http.ResponseWriter, q *http.Request, welcomed *times) {
	socket(w, q, func(c *websocket.Conn, p []byte) {
		f.welcomes(c, p)
		welcomed.carrier(f)
		c.WriteMessage(websocket.BinaryMessage, wire.AppendPing(nil, nil))
		ponged(c)
	})
}

// Carriers that are cut right behind their WELCOME are made again by back-off after three
// of them, though each brought a frame; CheckNetwork forgets, and so does a second of life.
func TestCutBehindTheWelcome(t *testing.T) {
	for _, kind := range []Transport{WebSocket, Stream} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				c := r.open(r.options(kind))
				r.echo(c, "hello")
				time.Sleep(2 * time.Second)
				var welcomed times
				r.cutting(kind, &welcomed)
				start := time.Now()
				r.cut()
				time.Sleep(100 * time.Second)
				wantBackOffBehindThree(t, welcomed.list(), start)

				// Each time the first is at once, and the pause comes behind that one and three.
				before := len(welcomed.list())
				c.CheckNetwork()
				synctest.Wait()
				if got := len(welcomed.list()) - before; got != 4 {
					t.Errorf("%d carriers at once behind CheckNetwork; want 4", got)
				}
				for life, want := range map[time.Duration]int{time.Second: 4, 990 * time.Millisecond: 3} {
					r.lives(c, kind, life)
					before := len(welcomed.list())
					r.cutting(kind, &welcomed)
					r.cut()
					synctest.Wait()
					if got := len(welcomed.list()) - before; got != want {
						t.Errorf("%d carriers at once behind one that lived for %v; want %d", got, life, want)
					}
				}
				r.f.set(wire.Kind(kind), nil)
				r.echo(c, "all is well")
			})
		})
	}
}

// lives has one carrier live for that long, behind a CheckNetwork.
func (r *rig) lives(c *Conn, kind Transport, d time.Duration) {
	r.f.set(wire.Kind(kind), nil)
	c.CheckNetwork()
	synctest.Wait()
	if c.Transport() != kind {
		r.t.Errorf("transport %q; want %q", c.Transport(), kind)
	}
	r.echo(c, "it lives")
	time.Sleep(d)
}

func wantBackOffBehindThree(t *testing.T, got []time.Time, start time.Time) {
	t.Helper()
	if len(got) < 8 || len(got) > 80 || got[0] != start {
		t.Fatalf("%d carriers in 100 s; want 8 to 80, the first at once", len(got))
	}
	slow := false
	for i := 1; i < len(got); i++ {
		most := time.Duration(0)
		if i > freeCuts {
			most = backoff(500*time.Millisecond, 20*time.Second, i-freeCuts)
		}
		gap := got[i].Sub(got[i-1])
		if gap > most {
			t.Errorf("carrier %d came %v after the last; want at most %v", i+1, gap, most)
		}
		slow = slow || gap > time.Second
	}
	if !slow {
		t.Errorf("no pause was longer than 1 s")
	}
}

// A server that ends its streams every second, as it said, is no bad network.
func TestRotationIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.f.welcome.Rotate = 1000
		o := r.options(Stream)
		o.OnTransport = func(now Transport, why error) {
			if now == None {
				t.Errorf("the stream was lost: %v", why)
			}
		}
		c := r.open(o)
		time.Sleep(60*time.Second + 500*time.Millisecond)
		if n := len(r.f.said()); n != 61 {
			t.Errorf("%d streams in a minute; want 61", n)
		}
		r.echo(c, "hello")
	})
}

// An ending connection is cut when so many bytes came.
type ending struct {
	net.Conn
	left int
}

func (e *ending) Read(p []byte) (int, error) {
	if e.left <= 0 {
		e.Close()
		return 0, io.ErrUnexpectedEOF
	}
	n, err := e.Conn.Read(p[:min(len(p), e.left)])
	e.left -= n
	return n, err
}

// Where each connection brings messages before it is cut, the next is made at once.
func TestCutsThatAreWorthIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		o := r.options(WebSocket)
		o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := r.dial(ctx, network, addr)
			return &ending{c, 150_000}, err
		}
		c := r.open(o)
		s := r.f.only()
		large := bytes.Repeat([]byte("x"), 1_000_000)
		s.do(func() { s.out.window = 1 << 30; s.out.add(true, large) })
		start := time.Now()
		if _, p, err := c.Read(t.Context()); err != nil || !bytes.Equal(p, large) {
			t.Errorf("Read: %d bytes, %v; want %d", len(p), err, len(large))
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v; want no pause", took)
		}
		if n := len(r.f.said()); n < 7 {
			t.Errorf("%d carriers; want 7 at least", n)
		}
	})
}

// Where each connection brings a message, and is cut then, the pauses stay short; but there
// are some.
func TestCutsBehindAMessage(t *testing.T) {
	for _, kind := range []Transport{WebSocket, Stream} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				c := r.open(r.options(kind))
				r.echo(c, "hello")
				start, longest := time.Now(), time.Duration(0)
				for range 40 {
					cut := time.Now()
					r.cut()
					r.echo(c, "again")
					longest = max(longest, time.Since(cut))
				}
				if longest > time.Second {
					t.Errorf("a pause of %v; want 1 s at most", longest)
				}
				if took := time.Since(start); took < 5*time.Second {
					t.Errorf("40 cuts in %v; want pauses", took)
				}
			})
		})
	}
}
