package resumable

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/protocol/resume/wire"
)

// A slowed connection brings so many bytes a second.
type slowed struct {
	net.Conn
	rate int
}

func (s slowed) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p[:min(len(p), s.rate/4)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(s.rate))
	return n, err
}

// What comes by 1 kB/s takes longer than silence may last, but there is no silence.
func TestSlowPathIsNotSilent(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		o := r.options(kind)
		o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := r.dial(ctx, network, addr)
			return slowed{c, 1000}, err
		}
		var lost atomic.Int32
		o.OnTransport = func(now Transport, why error) {
			if now == None {
				lost.Add(1)
				t.Logf("lost: %v", why)
			}
		}
		c := r.open(o)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		want := bytes.Repeat([]byte("slow "), 40_000)
		if err := c.Write(ctx, Binary, want); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, got, err := c.Read(ctx)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
		}
		if took := time.Since(start); took > 5*time.Minute || lost.Load() > 0 {
			t.Errorf("took %v, lost %d times; want 200 s and little more, by one carrier", took, lost.Load())
		}
		c.CloseNow()
		time.Sleep(time.Second) // for what is on its way
	})
}

// A slow way up takes so many bytes a second.
type slowUp struct {
	net.Conn
	rate int
}

func (s slowUp) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		piece := p[:min(len(p), s.rate/4)]
		time.Sleep(time.Duration(len(piece)) * time.Second / time.Duration(s.rate))
		var took int
		took, err = s.Conn.Write(piece)
		n, p = n+took, p[took:]
	}
	return n, err
}

// A request has only so long, and takes no more than gets up in that: what goes up by 1 or
// 8 kB/s is there in little more than that takes, by one carrier.
func TestSlowWayUp(t *testing.T) {
	for _, rate := range []int{1000, 8000} {
		inRig(t, func(t *testing.T, r *rig, kind Transport) {
			o := r.options(kind)
			o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := r.dial(ctx, network, addr)
				return slowUp{c, rate}, err
			}
			o.OnTransport = func(now Transport, why error) {
				if now == None {
					t.Errorf("%d B/s: lost: %v", rate, why)
				}
			}
			c := r.open(o)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			want := bytes.Repeat([]byte("slow "), 40_000)
			start := time.Now()
			if err := c.Write(ctx, Binary, want); err != nil {
				t.Fatal(err)
			}
			_, got, err := c.Read(ctx)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d B/s: %d bytes, %v; want %d", rate, len(got), err, len(want))
			}
			if took, least := time.Since(start), time.Duration(len(want)/rate)*time.Second; took > least+least/5 {
				t.Errorf("%d B/s: took %v; want %v and little more", rate, took, least)
			}
			c.CloseNow()
			time.Sleep(10 * time.Second) // for what is on its way
		})
	}
}

// A queued connection takes what is written at once, as a kernel does, and brings it by and by.
type queued struct {
	net.Conn
	q    chan []byte
	done chan struct{}
	once *sync.Once
}

func queue(c net.Conn) *queued {
	k := &queued{c, make(chan []byte, 1000), make(chan struct{}), new(sync.Once)}
	go func() {
		for {
			select {
			case p := <-k.q:
				c.Write(p)
			case <-k.done:
				return
			}
		}
	}()
	return k
}

func (k *queued) Write(p []byte) (int, error) {
	select {
	case k.q <- bytes.Clone(p):
		return len(p), nil
	case <-k.done:
		return 0, net.ErrClosed
	}
}

func (k *queued) Close() error {
	k.once.Do(func() { close(k.done) })
	return k.Conn.Close()
}

// What goes with a stream's HELLO takes its time on a slow way up, where a kernel took it at
// once: that says nothing of streams.
func TestSlowWayUpIsNotMute(t *testing.T) {
	for _, rate := range []int{4500, 8000} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			o := r.options(Stream, Poll)
			o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				time.Sleep(50 * time.Millisecond)
				c, err := r.dial(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return queue(slowUp{c, rate}), nil
			}
			c := r.open(o)
			want := bytes.Repeat([]byte("slow "), 20_000)
			if err := c.Write(t.Context(), Binary, want); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				time.Sleep(6 * time.Second)
				r.cut()
			}
			if _, got, err := c.Read(t.Context()); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d B/s: %d bytes, %v; want %d", rate, len(got), err, len(want))
			}
			if _, mute := c.o.Memory.known("server.test", time.Now()); mute {
				t.Errorf("%d B/s: streams are thought held back", rate)
			}
			c.CloseNow()
			time.Sleep(10 * time.Second) // for what is on its way
		})
	}
}

// What is on the way may take no large bodies, or cut them: smaller ones get across.
func TestSmallBodiesOnly(t *testing.T) {
	for name, no := range map[string]func(w http.ResponseWriter){
		"413": func(w http.ResponseWriter) { http.Error(w, "too large", http.StatusRequestEntityTooLarge) },
		"cut": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		for _, kind := range []Transport{Stream, Poll} {
			t.Run(name+"/"+string(kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, nil)
					for _, kind := range []wire.Kind{wire.Stream, wire.Poll, wire.Send} {
						r.f.set(kind, func(w http.ResponseWriter, q *http.Request) bool {
							large := q.ContentLength > 8<<10
							if large {
								no(w)
							}
							return large
						})
					}
					c := r.open(r.options(kind))
					want := bytes.Repeat([]byte("small"), 40_000)
					start := time.Now()
					if err := c.Write(t.Context(), Binary, want); err != nil {
						t.Fatal(err)
					}
					if _, got, err := c.Read(t.Context()); err != nil || !bytes.Equal(got, want) {
						t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
					}
					if took := time.Since(start); took > 30*time.Second {
						t.Errorf("took %v; want 30s at most", took)
					}
				})
			})
		}
	}
}

// A WebSocket that is moved to on a slow way up is no silent one: the PING that asks it does
// not wait behind messages.
func TestMovingOnASlowWayUp(t *testing.T) {
	for _, kind := range []Transport{Stream, Poll} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				r.f.welcome.Rotate = 3_600_000
				o := r.options(WebSocket, kind)
				o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					c, err := r.dial(ctx, network, addr)
					return slowUp{c, 1000}, err
				}
				r.f.set(wire.WebSocket, refused)
				o.OnTransport = func(now Transport, why error) {
					if now == None || why != nil {
						t.Errorf("lost: %v", why)
					}
				}
				c := r.open(o)
				r.f.set(wire.WebSocket, nil)
				time.Sleep(probeEvery - 20*time.Second)
				want := bytes.Repeat([]byte("slow "), 40_000)
				if err := c.Write(t.Context(), Binary, want); err != nil {
					t.Fatal(err)
				}
				if _, got, err := c.Read(t.Context()); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
				}
				if c.Transport() != WebSocket {
					t.Errorf("transport %q; want websocket", c.Transport())
				}
				c.CloseNow()
				time.Sleep(time.Minute) // for what is on its way
			})
		})
	}
}
