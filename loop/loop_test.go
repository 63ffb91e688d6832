package loop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const patience = 10 * time.Second

func start(t testing.TB) *Loop {
	t.Helper()
	l, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Stop)
	return l
}

// sockets returns two connected ends.
func sockets(t testing.TB, network string) (a, b net.Conn) {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if a, err = net.Dial(network, ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	b.SetDeadline(time.Now().Add(patience))
	return a, b
}

// An echoer sends back what it reads, and keeps what is not taken.
type echoer struct {
	Socket
	loop *Loop
	out  []byte
	end  chan error
}

func (e *echoer) Ready(s *Socket, ev Events) {
	if ev&Writable != 0 && len(e.out) > 0 {
		n, err := s.Write(e.out)
		if err != nil && err != ErrWait {
			e.close(err)
			return
		}
		e.out = e.out[n:]
	}
	if ev&Readable != 0 && len(e.out) == 0 {
		n, err := s.Read(e.loop.Scratch())
		if err == ErrWait {
			return
		}
		if err != nil {
			e.close(err)
			return
		}
		b := e.loop.Scratch()[:n]
		k, err := s.Write(b)
		if err != nil && err != ErrWait {
			e.close(err)
			return
		}
		e.out = bytes.Clone(b[k:])
	}
	if len(e.out) > 0 {
		s.Watch(Writable)
	} else {
		s.Watch(Readable)
	}
}

func (e *echoer) close(err error) {
	e.Close()
	e.end <- err
}

func echo(t testing.TB, l *Loop, c net.Conn) *echoer {
	t.Helper()
	e := &echoer{loop: l, end: make(chan error, 1)}
	l.Do(func() {
		if err := l.Add(&e.Socket, c, e, Readable); err != nil {
			t.Fatal(err)
		}
	})
	return e
}

func TestSocketsEcho(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			l := start(t)
			a, b := sockets(t, network)
			e := echo(t, l, a)
			data := bytes.Repeat([]byte("sixteen bytes..."), 1<<18) // 4 MiB: more than any buffer
			go b.Write(data)
			got := make([]byte, len(data))
			if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%v, equal %v", err, bytes.Equal(got, data))
			}
			b.Close()
			if err := <-e.end; err != io.EOF {
				t.Errorf("ended by %v; want EOF", err)
			}
			l.Do(func() {
				if l.Len() != 0 || e.Open() {
					t.Error("the closed socket is still in the loop")
				}
			})
		})
	}
}

// A resets peer must not make the loop spin while nothing is asked of the socket.
func TestNothingWatchedNothingReported(t *testing.T) {
	l := start(t)
	a, b := sockets(t, "tcp")
	var calls atomic.Int32
	h := handler(func(s *Socket, ev Events) { calls.Add(1); s.Close() })
	var s Socket
	l.Do(func() {
		if err := l.Add(&s, a, h, 0); err != nil {
			t.Fatal(err)
		}
	})
	b.(*net.TCPConn).SetLinger(0)
	b.Close()
	fence(t, l)
	if n := calls.Load(); n != 0 {
		t.Errorf("%d callbacks for a socket that nothing was asked of", n)
	}
	l.Do(func() {
		if err := s.Watch(Readable); err != nil {
			t.Fatal(err)
		}
	})
	within(t, "the reset", func() bool { return calls.Load() == 1 })
}

type handler func(*Socket, Events)

func (h handler) Ready(s *Socket, ev Events) { h(s, ev) }

// fence waits until the loop has been through a wait of its own.
func fence(t *testing.T, l *Loop) {
	t.Helper()
	done := make(chan struct{})
	tm := &Timer{Expired: expirer(func() { close(done) })}
	l.Do(func() { l.SetTimer(tm, time.Now().Add(20*time.Millisecond)) })
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("a timer did not expire")
	}
}

type expirer func()

func (e expirer) Expire() { e() }

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// The longest of durations is not the past: it would have a timer expire at once,
// and again each time it is set.
func TestTimersFarAhead(t *testing.T) {
	l := start(t)
	far, near := make(chan struct{}, 1), make(chan struct{}, 1)
	l.Do(func() {
		l.SetTimer(&Timer{Expired: expirer(func() { far <- struct{}{} })}, time.Now().Add(math.MaxInt64))
		l.SetTimer(&Timer{Expired: expirer(func() { near <- struct{}{} })}, time.Now().Add(5*tick))
	})
	<-near
	select {
	case <-far:
		t.Error("a timer centuries ahead expired before one 50 ms ahead")
	default:
	}
}

func TestTimersExpireInTime(t *testing.T) {
	l := start(t)
	begun := time.Now()
	for _, d := range []time.Duration{200 * time.Millisecond, 50 * time.Millisecond, 0, -time.Hour} {
		done := make(chan time.Time, 1)
		tm := &Timer{Expired: expirer(func() { done <- time.Now() })}
		at := time.Now().Add(d)
		l.Do(func() { l.SetTimer(tm, at) })
		if got := <-done; got.Before(at) {
			t.Errorf("timer of %v was %v early", d, at.Sub(got))
		}
	}
	stopped := &Timer{Expired: expirer(func() { t.Error("a stopped timer expired") })}
	l.Do(func() { l.SetTimer(stopped, time.Now().Add(30*time.Millisecond)) })
	l.Do(func() { l.StopTimer(stopped) })
	fence(t, l)
	fence(t, l)
	if d := time.Since(begun); d > patience {
		t.Errorf("took %v", d)
	}
}

// Descriptors are reused at once; no event of an old socket may reach a new one.
func TestReusedDescriptorsAreNotConfused(t *testing.T) {
	l := start(t)
	var wrong atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				a, b := sockets(t, "tcp")
				mine := fmt.Sprint(i)
				got := make(chan string, 1)
				var s Socket
				closed := false
				h := handler(func(s *Socket, _ Events) {
					if closed {
						wrong.Add(1)
						return
					}
					n, err := s.Read(l.Scratch())
					if err == ErrWait {
						return
					}
					got <- string(l.Scratch()[:n])
					closed = true
					s.Close()
				})
				l.Do(func() {
					if err := l.Add(&s, a, h, Readable); err != nil {
						t.Error(err)
					}
				})
				b.Write([]byte(mine))
				if g := <-got; g != mine {
					wrong.Add(1)
				}
				b.Close()
			}
		})
	}
	wg.Wait()
	if n := wrong.Load(); n != 0 {
		t.Errorf("%d callbacks reached the wrong socket", n)
	}
}

func TestNoCallbackAfterRemoval(t *testing.T) {
	l := start(t)
	for range 200 {
		a, b := sockets(t, "tcp")
		var removed atomic.Bool
		var s Socket
		h := handler(func(*Socket, Events) {
			if removed.Load() {
				t.Error("a callback ran after the removal had returned")
			}
		})
		l.Do(func() { l.Add(&s, a, h, Readable|Writable) })
		go b.Write([]byte("x"))
		l.Do(func() { s.Close() })
		removed.Store(true)
		b.Close()
	}
}

func TestStopClosesAndWaits(t *testing.T) {
	l, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	a, b := sockets(t, "tcp")
	echo(t, l, a)
	l.Stop()
	l.Stop()
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the other end read %v; want EOF", err)
	}
	c, _ := sockets(t, "tcp")
	l.Do(func() {
		var s Socket
		if err := l.Add(&s, c, nil, Readable); !errors.Is(err, ErrStopped) {
			t.Errorf("Add = %v; want ErrStopped", err)
		}
	})
}

func TestAddRefusesWhatHasNoSocket(t *testing.T) {
	l := start(t)
	a, _ := net.Pipe()
	var s Socket
	l.Do(func() {
		if err := l.Add(&s, a, nil, Readable); err == nil {
			t.Error("a pipe was taken for a socket")
		}
	})
}

func BenchmarkEcho(b *testing.B) {
	l := start(b)
	x, y := sockets(b, "tcp")
	echo(b, l, x)
	y.SetDeadline(time.Time{})
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		y.Write(buf)
		if _, err := io.ReadFull(y, buf); err != nil {
			b.Fatal(err)
		}
	}
}
