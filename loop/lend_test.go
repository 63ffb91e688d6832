package loop

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// lend is a loop with a's socket lent to it; the test is skipped where there is no lending.
func lend(t *testing.T, a net.Conn, s *Socket, h Handler, ev Events) *Loop {
	t.Helper()
	l := start(t)
	var err error
	l.Do(func() { err = l.Lend(s, a, h, ev) })
	switch {
	case !Native && errors.Is(err, errors.ErrUnsupported):
		t.Skip("nothing can be lent here")
	case err != nil || !Native:
		t.Fatalf("Lend: %v", err)
	}
	return l
}

func TestALentSocketComesBack(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			a, b := sockets(t, network)
			a.SetDeadline(time.Now().Add(patience))
			ready := make(chan string, 1)
			var s Socket
			h := handler(func(s *Socket, _ Events) {
				p := make([]byte, 10)
				n, err := s.Peek(p)
				if err != nil {
					t.Error(err)
				}
				ready <- string(p[:n])
				s.Reclaim()
			})
			l := lend(t, a, &s, h, Readable)
			for range 100 { // back and forth
				l.Do(func() {
					if _, err := s.Peek(make([]byte, 1)); err != ErrWait {
						t.Errorf("peeked %v; want ErrWait", err)
					}
					if n, err := s.Write([]byte("one")); n != 3 || err != nil {
						t.Errorf("wrote %d, %v", n, err)
					}
				})
				got := make([]byte, 3)
				if _, err := io.ReadFull(b, got); err != nil || string(got) != "one" {
					t.Fatalf("read %q, %v; want one", got, err)
				}
				b.Write([]byte("two"))
				if p := <-ready; p != "two" {
					t.Fatalf("peeked at %q; want two", p)
				}
				if _, err := io.ReadFull(a, got); err != nil || string(got) != "two" {
					t.Fatalf("read %q, %v; want two, which was only peeked at", got, err)
				}
				a.Write([]byte("six"))
				if _, err := io.ReadFull(b, got); err != nil || string(got) != "six" {
					t.Fatalf("read %q, %v; want six", got, err)
				}
				l.Do(func() {
					if l.Len() != 0 || s.Open() {
						t.Error("it is still in the loop")
					}
					if err := l.Lend(&s, a, h, Readable); err != nil {
						t.Fatal(err)
					}
				})
			}
			l.Do(s.Reclaim)
			l.Do(s.Reclaim)
		})
	}
}

func TestALentSocketTellsTheEnd(t *testing.T) {
	for _, reset := range []bool{false, true} {
		a, b := sockets(t, "tcp")
		told := make(chan error, 1)
		var s Socket
		lend(t, a, &s, handler(func(s *Socket, _ Events) {
			_, err := s.Peek(make([]byte, 1))
			s.Reclaim()
			told <- err
		}), Readable)
		if reset {
			b.(*net.TCPConn).SetLinger(0)
		}
		b.Close()
		select {
		case err := <-told:
			if (err == io.EOF) == reset || err == nil || err == ErrWait {
				t.Errorf("reset %v: peeked %v", reset, err)
			}
		case <-time.After(patience):
			t.Fatalf("reset %v: not told", reset)
		}
	}
}

// Neither Close nor Stop may close a descriptor that another owns: by the time the
// owner closes it, its number would be somebody else's.
func TestALentSocketIsNotClosed(t *testing.T) {
	a, b := sockets(t, "tcp")
	c, d := sockets(t, "tcp")
	var s, q Socket
	var calls atomic.Int32
	h := handler(func(*Socket, Events) { calls.Add(1) })
	l := lend(t, a, &s, h, Readable)
	l.Do(func() {
		if err := l.Lend(&q, c, h, Readable); err != nil {
			t.Fatal(err)
		}
		s.Close()
	})
	l.Stop()
	for i, pair := range [][2]net.Conn{{a, b}, {c, d}} {
		if _, err := pair[0].Write([]byte("x")); err != nil {
			t.Errorf("%d: %v; want it to be open", i, err)
		}
		if _, err := io.ReadFull(pair[1], make([]byte, 1)); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	var late Socket
	l.Do(func() {
		if err := l.Lend(&late, a, h, Readable); !errors.Is(err, ErrStopped) || late.Open() {
			t.Errorf("Lend = %v; want ErrStopped", err)
		}
	})
	if n := calls.Load(); n != 0 {
		t.Errorf("%d callbacks", n)
	}
}

func TestLendRefusesWhatHasNoSocket(t *testing.T) {
	l := start(t)
	a, _ := net.Pipe()
	closed, _ := sockets(t, "tcp")
	closed.Close()
	l.Do(func() {
		for _, c := range []net.Conn{a, closed} {
			var s Socket
			if err := l.Lend(&s, c, nil, Readable); err == nil || s.Open() || l.Len() != 0 {
				t.Errorf("%T: Lend = %v, open %v", c, err, s.Open())
			}
		}
	})
}
