package resumable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

// Hooks that stand for networks which let no WebSocket through.

func refused(w http.ResponseWriter, _ *http.Request) bool {
	http.Error(w, "no", http.StatusForbidden)
	return true
}

func hanging(_ http.ResponseWriter, r *http.Request) bool {
	io.Copy(io.Discard, r.Body) // or nobody notices that the client goes
	<-r.Context().Done()
	return true
}

func killed(w http.ResponseWriter, r *http.Request) bool {
	socket(w, r, func(*websocket.Conn, []byte) {})
	return true
}

func TestOpeningWhereWebSocketIsBlocked(t *testing.T) {
	for name, test := range map[string]struct {
		hook func(http.ResponseWriter, *http.Request) bool
		want time.Duration
	}{
		"refused": {refused, 0}, "killed": {killed, 0}, "hanging": {hanging, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				r.f.set(wire.WebSocket, test.hook)
				o := r.options()
				o.Memory = &Memory{}
				start := time.Now()
				c := r.open(o)
				// A pipe has no round trip: the network is thought unknown.
				if took := time.Since(start); took != test.want && took != 2*test.want {
					t.Errorf("open after %v; want %v", took, test.want)
				}
				if c.Transport() != Stream {
					t.Errorf("transport %q; want stream", c.Transport())
				}
				r.echo(c, "hello")
				time.Sleep(raceOn + time.Second)
				if noWebSocket, _ := o.Memory.known("server.test", time.Now()); !noWebSocket {
					t.Error("it is not remembered that WebSocket is blocked")
				}
				before := len(r.f.said())
				start = time.Now()
				second := r.open(o)
				if took := time.Since(start); took != 0 {
					t.Errorf("the next opening took %v", took)
				}
				if got := second.Transport(); got != Stream {
					t.Errorf("the next opening is by %q", got)
				}
				if h := r.f.said()[before]; h.Use != 1 || h.Generation != 1 {
					t.Errorf("its first HELLO is generation %d, use %d; want 1 and 1", h.Generation, h.Use)
				}
			})
		})
	}
}

// What works later is moved to, without a message lost.
func TestMovingToAWebSocket(t *testing.T) {
	for _, kinds := range [][]Transport{{WebSocket, Stream}, {WebSocket, Poll}} {
		t.Run(string(kinds[1]), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				r.f.set(wire.WebSocket, refused)
				var changes []Transport
				o := r.options(kinds...)
				o.OnTransport = func(now Transport, why error) { changes = append(changes, now) }
				c := r.open(o)
				r.f.set(wire.WebSocket, nil)
				start := time.Now()
				for i := 0; c.Transport() != WebSocket; i++ {
					r.numbered(c, 5, nil, nil)
					time.Sleep(time.Second)
					if time.Since(start) > 2*time.Minute {
						t.Fatal("no WebSocket after two minutes")
					}
				}
				if took := time.Since(start); took < probeEvery-time.Second || took > probeEvery+2*time.Second {
					t.Errorf("moved after %v; want %v", took, probeEvery)
				}
				r.numbered(c, 50, nil, nil)
				time.Sleep(time.Second)
				if want := []Transport{kinds[1], WebSocket}; len(changes) != 2 || changes[0] != want[0] || changes[1] != want[1] {
					t.Errorf("transports %q; want %q", changes, want)
				}
				hellos := r.f.said()
				if last := hellos[len(hellos)-1]; last.Use != 0 || last.Session == "" {
					t.Errorf("the WebSocket's HELLO: %+v; want one that resumes without use", last)
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				if len(c.carriers) != 1 {
					t.Errorf("%d carriers live; want 1", len(c.carriers))
				}
			})
		})
	}
}

// WebSockets that are welcomed and then killed count as blocked after three, but are
// still tried.
func TestKilledWebSocketsCountAsBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c := r.open(r.options())
		start := time.Now()
		for i := range killedTimes {
			if c.Transport() != WebSocket {
				t.Fatalf("kill %d: transport %q; want websocket", i, c.Transport())
			}
			r.echo(c, "hello")
			time.Sleep(time.Second)
			start = time.Now()
			r.cut()
			r.echo(c, "again")
		}
		synctest.Wait()
		if c.Transport() != Stream {
			t.Errorf("transport %q; want stream", c.Transport())
		}
		if no, _ := c.o.Memory.known("server.test", time.Now()); !no {
			t.Error("WebSocket does not count as blocked")
		}
		time.Sleep(probeEvery - time.Since(start))
		synctest.Wait()
		if c.Transport() != WebSocket {
			t.Errorf("transport %q a minute after the last WebSocket; want websocket", c.Transport())
		}
		time.Sleep(killedSoon)
		synctest.Wait()
		if no, _ := c.o.Memory.known("server.test", time.Now()); no {
			t.Error("a WebSocket that lives still counts as blocked")
		}
	})
}

// Something that holds streams back is found out, and remembered.
func TestMuteStreamBecomesAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.f.set(wire.Stream, hanging)
		o := r.options(Stream, Poll)
		start := time.Now()
		c := r.open(o)
		if took := time.Since(start); took < muteAtLeast || took > time.Second {
			t.Errorf("open after %v; want 500ms to 1s", took)
		}
		r.echo(c, "hello")
		if c.Transport() != Poll {
			t.Errorf("transport %q; want poll", c.Transport())
		}
		synctest.Wait()
		if _, no := c.o.Memory.known("server.test", time.Now()); !no {
			t.Error("it is not remembered that streams are held back")
		}
	})
}

func TestRefusal(t *testing.T) {
	for _, kind := range []Transport{WebSocket, Stream, Poll} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				r.f.refuse = &wire.Refused{Status: 403, Text: "not you"}
				start := time.Now()
				_, err := Dial(context.Background(), "ws://server.test/", r.options(kind))
				var no *Refused
				if !errors.As(err, &no) || no.Status != 403 || no.Text != "not you" {
					t.Errorf("Dial: %v; want a refusal with 403", err)
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

func TestOpeningFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		for _, kind := range []wire.Kind{wire.WebSocket, wire.Stream, wire.Poll} {
			r.f.set(kind, refused)
		}
		_, err := Dial(context.Background(), "ws://server.test/", r.options())
		if !errors.Is(err, ErrUnreachable) {
			t.Errorf("Dial: %v; want ErrUnreachable", err)
		}
		for _, what := range []string{"websocket: ", "stream: ", "poll: ", "plain: ", "403"} {
			if !strings.Contains(err.Error(), what) {
				t.Errorf("%q does not tell of %q", err, what)
			}
		}
	})
}

func TestOpeningTakesNoLongerThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		for _, kind := range []wire.Kind{wire.WebSocket, wire.Stream, wire.Poll} {
			r.f.set(kind, hanging)
		}
		start := time.Now()
		_, err := Dial(context.Background(), "ws://server.test/", r.options())
		if took := time.Since(start); !errors.Is(err, ErrUnreachable) || took != 20*time.Second {
			t.Errorf("Dial: %v after %v; want ErrUnreachable after 20s", err, took)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		start = time.Now()
		_, err = Dial(ctx, "ws://server.test/", r.options())
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 3*time.Second {
			t.Errorf("Dial: %v after %v; want its context's end after 3s", err, took)
		}
	})
}

// One bad answer beside a WebSocket that hangs does not spoil an opening.
func TestOpeningTriesAgainBesideWhatHangs(t *testing.T) {
	for _, kinds := range [][]Transport{{WebSocket, Stream, Poll}, {WebSocket, Stream}, {WebSocket, Poll}} {
		t.Run(string(kinds[len(kinds)-1]), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				r.f.set(wire.WebSocket, hanging)
				for _, kind := range []wire.Kind{wire.Stream, wire.Poll} {
					r.f.set(kind, func(w http.ResponseWriter, q *http.Request) bool {
						r.f.set(kind, nil)
						return badGateway(w, q)
					})
				}
				start := time.Now()
				c := r.open(r.options(kinds...))
				if took := time.Since(start); took > 1500*time.Millisecond {
					t.Errorf("open after %v; want 1.5s at most", took)
				}
				r.echo(c, "hello")
			})
		})
	}
}

// Nobody is asked again in an opening who said that there is no sidecar, and all others only
// now and then.
func TestOpeningTriesAgainByBackOff(t *testing.T) {
	for name, test := range map[string]struct {
		hook func(http.ResponseWriter, *http.Request) bool
		most int
	}{"no sidecar": {refused, 1}, "nobody there": {badGateway, 15}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				var asked times
				r.f.set(wire.WebSocket, hanging)
				r.f.set(wire.Stream, noting(&asked, test.hook))
				r.f.set(wire.Poll, test.hook)
				start := time.Now()
				_, err := Dial(t.Context(), "ws://server.test/", r.options())
				if took := time.Since(start); !errors.Is(err, ErrUnreachable) || took != 20*time.Second {
					t.Errorf("Dial: %v after %v; want ErrUnreachable after 20s", err, took)
				}
				if n := len(asked.list()); n > test.most || test.most > 1 && n < 3 {
					t.Errorf("asked for %d streams; want %d at most", n, test.most)
				}
				for _, what := range []string{"websocket: ", "stream: ", "poll: "} {
					if strings.Count(err.Error(), what) != 1 {
						t.Errorf("%q does not tell of %q once", err, what)
					}
				}
			})
		})
	}
}

// Who comes into a network that holds streams back comes back by a poll, and soon.
func TestMuteStreamBehindACut(t *testing.T) {
	for _, rtt := range []time.Duration{0, 10 * time.Millisecond, 50 * time.Millisecond, 300 * time.Millisecond} {
		for _, kinds := range [][]Transport{{WebSocket, Stream, Poll}, {Stream, Poll}} {
			t.Run(fmt.Sprint(rtt, kinds), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, nil)
					o := r.options(kinds...)
					o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
						time.Sleep(rtt)
						return r.dial(ctx, network, addr)
					}
					c := r.open(o)
					r.echo(c, "hello")
					time.Sleep(5 * time.Second)
					r.f.set(wire.WebSocket, refused)
					r.f.set(wire.Stream, hanging)
					start := time.Now()
					r.cut()
					synctest.Wait()
					r.echo(c, "back")
					if took := time.Since(start); took > 4*time.Second || c.Transport() != Poll {
						t.Errorf("back after %v by %q; want 4s at most, by poll", took, c.Transport())
					}
					c.CloseNow()
					time.Sleep(time.Second)
				})
			})
		}
	}
}

// A stream that fails, but later than its head start, leaves the poll its turn too.
func TestStreamThatFailsLate(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			o := r.options(Stream, Poll)
			o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				time.Sleep(50 * time.Millisecond)
				return r.dial(ctx, network, addr)
			}
			c := r.open(o)
			r.echo(c, "hello")
			time.Sleep(5 * time.Second)
			r.f.set(wire.Stream, func(w http.ResponseWriter, q *http.Request) bool {
				time.Sleep(470 * time.Millisecond)
				return badGateway(w, q)
			})
			start := time.Now()
			r.cut()
			synctest.Wait()
			r.echo(c, "back")
			if took := time.Since(start); took > 4*time.Second {
				t.Errorf("back after %v; want 4s at most", took)
			}
			c.CloseNow()
			time.Sleep(time.Second)
		})
	}
}
