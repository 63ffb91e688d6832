package resumable

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/protocol/resume/wire"
)

// inRig runs a test in a bubble, for each transport.
func inRig(t *testing.T, test func(t *testing.T, r *rig, kind Transport)) {
	for _, kind := range []Transport{WebSocket, Stream, Poll} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newRig(t, nil), kind) })
		})
	}
}

// wantEnd reads on until the end, which must be as said.
func wantGone(t *testing.T, c *Conn, reason string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	_, _, err := c.Read(ctx)
	var gone *Gone
	if !errors.As(err, &gone) || gone.Reason != reason {
		t.Errorf("Read: %v; want gone by %q", err, reason)
	}
	if err := c.Write(ctx, Text, nil); !errors.As(err, &gone) {
		t.Errorf("Write: %v; want gone", err)
	}
}

func TestGoneEndsWithItsReason(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		c := r.open(r.options(kind))
		r.echo(c, "hello")
		s := r.f.only()
		s.do(func() { s.out.add(false, []byte("last")); s.at = s.out.taken })
		synctest.Wait()
		s.do(func() { s.gone = "evicted" })
		synctest.Wait()
		if _, p, err := c.Read(context.Background()); err != nil || string(p) != "last" {
			t.Errorf("what came before: %q, %v", p, err)
		}
		wantGone(t, c, "evicted")
	})
}

func TestGoneAnswersAHello(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		c := r.open(r.options(kind))
		r.echo(c, "hello")
		s := r.f.only()
		s.mu.Lock()
		s.id = "another"
		s.mu.Unlock()
		r.cut()
		wantGone(t, c, "unknown")
	})
}

// A session that nobody can be reached for ends when it must be over at the server.
func TestAwayForTooLong(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		c := r.open(r.options(kind))
		r.echo(c, "hello")
		start := time.Now()
		r.breakDown(errors.New("no network"))
		r.cut()
		wantGone(t, c, "expired")
		if took, want := time.Since(start), 150*time.Second; took != want {
			t.Errorf("gone after %v; want %v", took, want)
		}
	})
}

// With a network that is back, a client is back within its longest wait.
func TestBackOff(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		c := r.open(r.options(kind))
		r.echo(c, "hello")
		var tries []time.Time
		down := errors.New("no network")
		r.mu.Lock()
		r.fail = func() error { tries = append(tries, time.Now()); return down }
		r.mu.Unlock()
		start := time.Now()
		r.cut()
		time.Sleep(100 * time.Second)
		synctest.Wait()
		if len(tries) < 8 || len(tries) > 80 || tries[0] != start {
			t.Errorf("%d tries in 100 s, the first after %v; want 8 to 80, the first at once", len(tries), tries[0].Sub(start))
		}
		for i := 1; i < len(tries); i++ {
			if gap, most := tries[i].Sub(tries[i-1]), backoff(500*time.Millisecond, 20*time.Second, i); gap > most {
				t.Errorf("try %d came %v after the last; want at most %v", i, gap, most)
			}
		}
		r.breakDown(nil)
		c.CheckNetwork()
		back := time.Now()
		r.echo(c, "again")
		if took := time.Since(back); took != 0 {
			t.Errorf("back %v after CheckNetwork; want at once", took)
		}
	})
}

// A WELCOME that is lost harms nobody, at the opening and later.
func TestLostWelcome(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		lose := func(w http.ResponseWriter, q *http.Request) bool {
			r.f.set(wire.Kind(kind), nil)
			if kind == WebSocket {
				loseWelcome(r.f, w, q)
				return true
			}
			r.f.ServeHTTP(httptest.NewRecorder(), q)
			panic(http.ErrAbortHandler)
		}
		var started bool
		lost := func(w http.ResponseWriter, q *http.Request) bool {
			if started { // the whole session was on the recorder before
				return false
			}
			started = true
			ctx, cancel := context.WithCancel(q.Context())
			cancel()
			return lose(w, q.WithContext(ctx))
		}
		c := r.open(r.options(kind))
		for range 3 {
			r.echo(c, "hello")
			started = false
			r.f.set(wire.Kind(kind), lost)
			r.cut()
			r.numbered(c, 20, nil, nil)
			if !started {
				t.Error("no WELCOME was lost")
			}
		}
		if s := r.f.only(); s.got != 63 {
			t.Errorf("the backend got %d messages; want 63", s.got)
		}
	})
}

// loseWelcome lets a server think that it has welcomed.
func loseWelcome(f *fake, w http.ResponseWriter, q *http.Request) {
	upgraded(w, q, func(p []byte) []byte {
		hello, _, _ := wire.Split(p)
		f.attach(hello.Body)
		return nil
	})
}

func TestGoaway(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		c := r.open(r.options(kind))
		r.echo(c, "hello")
		s := r.f.only()
		s.do(func() { s.goaway = 8_000 })
		synctest.Wait()
		r.echo(c, "it goes on")
		synctest.Wait()
		s.mu.Lock()
		if got := s.out.first; got < 2 {
			t.Errorf("what came was not acknowledged at once: all from %d on is kept", got)
		}
		s.goaway = 0
		s.mu.Unlock()
		start := time.Now()
		before, dials := len(r.f.said()), 0
		r.mu.Lock()
		r.fail = func() error { dials++; return nil }
		r.mu.Unlock()
		r.cut()
		synctest.Wait()
		if dials != 0 {
			t.Errorf("%d connections were begun at once; want none before a random time is over", dials)
		}
		r.echo(c, "back")
		if took := time.Since(start); took > 8*time.Second {
			t.Errorf("back after %v; want at most 8s", took)
		}
		if n := len(r.f.said()) - before; n != 1 {
			t.Errorf("%d HELLOs; want 1", n)
		}
	})
}

// A network that swallows everything is found out in the time that the server named, and
// in 2 s by who is told to look. A poll is asked again once, unless its sends fail before.
func TestSilence(t *testing.T) {
	for kind, want := range map[Transport]time.Duration{WebSocket: 30 * time.Second, Stream: 30 * time.Second, Poll: 60 * time.Second} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { silence(t, kind, want, false) })
		})
		t.Run(string(kind)+", told", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { silence(t, kind, 2*time.Second, true) })
		})
	}
}

func silence(t *testing.T, kind Transport, want time.Duration, told bool) {
	r := newRig(t, nil)
	gone := make(chan time.Time, 10)
	o := r.options(kind)
	o.OnTransport = func(now Transport, why error) {
		if now == None {
			gone <- time.Now()
		}
	}
	c := r.open(o)
	r.echo(c, "hello")
	synctest.Wait()
	start := time.Now()
	r.blackhole(true)
	if told {
		c.CheckNetwork()
	}
	if took := (<-gone).Sub(start); took < want-30*time.Second || kind != Poll && took < want-2*time.Second || took > want {
		t.Errorf("given up after %v; want %v", took, want)
	}
	r.blackhole(false)
	start = time.Now()
	c.CheckNetwork()
	r.echo(c, "back")
	if took := time.Since(start); took > 2500*time.Millisecond { // the time it is asked for, and the first back-off
		t.Errorf("back %v after the network; want at most 2.5s", took)
	}
}

// A carrier that lives is kept when somebody asks.
func TestCheckOfANetworkThatWorks(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		o := r.options(kind)
		o.OnTransport = func(now Transport, why error) {
			if now == None {
				t.Errorf("lost: %v", why)
			}
		}
		c := r.open(o)
		for range 3 {
			r.echo(c, "hello")
			c.CheckNetwork()
			time.Sleep(10 * time.Second)
		}
		synctest.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.carriers) != 1 {
			t.Errorf("%d carriers; want 1", len(c.carriers))
		}
	})
}
