package faultlink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ends is a connection through a link, seen from both of its ends.
type ends struct {
	link           *Link
	ln             net.Listener
	client, server *net.TCPConn
}

func open(t *testing.T) *ends {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	e := &ends{link: l, ln: ln}
	e.connect(t)
	t.Cleanup(func() {
		l.Close()
		ln.Close()
		e.client.Close()
		e.server.Close()
		if n := l.Open(); n != 0 {
			t.Errorf("after Close %d connections are open", n)
		}
	})
	return e
}

func (e *ends) connect(t *testing.T) {
	t.Helper()
	c, err := net.Dial("tcp", e.link.Addr())
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	e.client, e.server = c.(*net.TCPConn), s.(*net.TCPConn)
	for _, c := range []net.Conn{c, s} {
		c.SetDeadline(time.Now().Add(20 * time.Second))
	}
}

// to and from are the ends of direction d.
func (e *ends) from(d Dir) *net.TCPConn {
	if d == Up {
		return e.client
	}
	return e.server
}
func (e *ends) to(d Dir) *net.TCPConn { return e.from(Both &^ d) }

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

// silent fails unless nothing can be read from c for a while.
func silent(t *testing.T, c *net.TCPConn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
	defer c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v; want silence", n, err)
	}
}

// passes fails unless bytes go through in direction d.
func (e *ends) passes(t *testing.T, d Dir, n int) {
	t.Helper()
	want := pattern(n)
	go e.from(d).Write(want)
	got := make([]byte, n)
	if _, err := io.ReadFull(e.to(d), got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("passing %d bytes: %v, equal %v", n, err, bytes.Equal(got, want))
	}
}

func eachWay(t *testing.T, f func(t *testing.T, d Dir)) {
	for d, name := range map[Dir]string{Up: "up", Down: "down"} {
		t.Run(name, func(t *testing.T) { f(t, d) })
	}
}

func TestHealthyLinkForwards(t *testing.T) {
	eachWay(t, func(t *testing.T, d Dir) {
		e := open(t)
		e.passes(t, d, 1<<20)
		if got, want := e.link.Forwarded(d), int64(1<<20); got != want {
			t.Errorf("forwarded %d bytes; want %d", got, want)
		}
		e.from(d).CloseWrite()
		if n, err := e.to(d).Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after the sender's FIN: %d, %v; want EOF", n, err)
		}
		e.passes(t, Both&^d, 1000) // the other direction goes on
	})
}

func TestSendersResetIsPassedOn(t *testing.T) {
	eachWay(t, func(t *testing.T, d Dir) {
		e := open(t)
		e.passes(t, d, 10)
		e.from(d).SetLinger(0)
		e.from(d).Close()
		if _, err := e.to(d).Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v; want a reset", err)
		}
	})
}

func TestResetBoth(t *testing.T) {
	e := open(t)
	e.passes(t, Up, 10)
	e.link.End(Both, Reset)
	for _, c := range []*net.TCPConn{e.client, e.server} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v; want a reset", err)
		}
	}
}

func TestResetOfOneEndLeavesTheOtherMute(t *testing.T) {
	eachWay(t, func(t *testing.T, d Dir) {
		e := open(t)
		e.passes(t, d, 10)
		e.link.End(d, Reset)
		if _, err := e.to(d).Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the end that is told: %v; want a reset", err)
		}
		silent(t, e.from(d))
		if _, err := e.from(d).Write(pattern(1 << 20)); err != nil {
			t.Errorf("writing into the mute end: %v", err)
		}
	})
}

func TestFIN(t *testing.T) {
	eachWay(t, func(t *testing.T, d Dir) {
		e := open(t)
		e.passes(t, d, 10)
		e.link.End(d, FIN)
		if _, err := e.to(d).Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got %v; want EOF", err)
		}
		e.passes(t, Both&^d, 1000)
	})
}

func TestBlackhole(t *testing.T) {
	eachWay(t, func(t *testing.T, d Dir) {
		e := open(t)
		e.passes(t, d, 10)
		e.link.Set(d, Fault{Blackhole: true})
		if _, err := e.from(d).Write(pattern(4 << 20)); err != nil {
			t.Fatalf("the sender must see a healthy connection, got %v", err)
		}
		silent(t, e.to(d))
		e.passes(t, Both&^d, 1000)
		e.from(d).CloseWrite()
		silent(t, e.to(d))
		if got, want := e.link.Forwarded(d), int64(10); got != want {
			t.Errorf("forwarded %d bytes; want %d", got, want)
		}
	})
}

func TestStall(t *testing.T) {
	eachWay(t, func(t *testing.T, d Dir) {
		e := open(t)
		e.passes(t, d, 10)
		e.link.Set(d, Fault{Stall: true})
		const size = 32 << 20
		wrote := make(chan error, 1)
		go func() {
			_, err := e.from(d).Write(pattern(size))
			wrote <- err
		}()
		silent(t, e.to(d))
		select {
		case err := <-wrote:
			t.Fatalf("wrote %d bytes into a stalled link (%v)", size, err)
		default:
		}
		e.passes(t, Both&^d, 1000)
		e.link.Set(d, Fault{})
		got := make([]byte, size)
		if _, err := io.ReadFull(e.to(d), got); err != nil || !bytes.Equal(got, pattern(size)) {
			t.Errorf("after the stall: %v, equal %v", err, bytes.Equal(got, pattern(size)))
		}
		if err := <-wrote; err != nil {
			t.Errorf("the stalled write: %v", err)
		}
	})
}

// What is delayed is so once, however many pieces it comes in, and the other direction
// is not. Both are told by order or by far, for a busy machine adds a time of its own.
func TestDelay(t *testing.T) {
	const delay, pieces = time.Second, 6
	eachWay(t, func(t *testing.T, d Dir) {
		e := open(t)
		e.link.Set(d, Fault{Delay: delay})
		want := pattern(pieces * readSize)
		start := time.Now()
		go e.from(d).Write(want)
		e.passes(t, Both&^d, 10_000)
		if got := time.Since(start); got >= delay {
			t.Errorf("the other direction took %v; want less than the delay of this one", got)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(e.to(d), got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("what was delayed: %v, equal %v", err, bytes.Equal(got, want))
		}
		if got := time.Since(start); got < delay || got > pieces*delay/2 {
			t.Errorf("took %v; want %v once", got, delay)
		}
	})
}

func TestRate(t *testing.T) {
	eachWay(t, func(t *testing.T, d Dir) {
		e := open(t)
		e.link.Set(d, Fault{Rate: 20_000})
		start := time.Now()
		e.passes(t, d, 10_000)
		if got := time.Since(start); got < 400*time.Millisecond || got > 5*time.Second {
			t.Errorf("10 kB at 20 kB/s took %v; want about 500ms, and no more than a busy machine adds", got)
		}
	})
}

// Pieces of three bytes, 10 ms apart: a reader that gets them in few reads was
// not given pieces.
func TestPiece(t *testing.T) {
	eachWay(t, func(t *testing.T, d Dir) {
		e := open(t)
		e.link.Set(d, Fault{Piece: 3, Rate: 300})
		want := pattern(60)
		go e.from(d).Write(want)
		var got []byte
		reads := 0
		for len(got) < len(want) {
			b := make([]byte, 100)
			n, err := e.to(d).Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b[:n]...)
			reads++
		}
		if !bytes.Equal(got, want) || reads < 8 {
			t.Errorf("got %d bytes in %d reads; want 60 in about 20", len(got), reads)
		}
	})
}

func TestCutAfterExactlyN(t *testing.T) {
	for name, want := range map[Ending]error{Reset: syscall.ECONNRESET, FIN: io.EOF} {
		eachWay(t, func(t *testing.T, d Dir) {
			for _, n := range []int{0, 1, 2, 100, 8191, 8192, 8193, 30_000} {
				e := open(t)
				e.passes(t, d, 10) // does not count: it went before Set
				e.link.Set(d, Fault{Cut: name, After: int64(n)})
				go e.from(d).Write(pattern(n + 20))
				got, err := io.ReadAll(e.to(d))
				if err == nil {
					err = io.EOF
				}
				if !bytes.Equal(got, pattern(n)) || !errors.Is(err, want) {
					t.Errorf("cut after %d: %d bytes, %v; want %v", n, len(got), err, want)
				}
				if got, want := e.link.Forwarded(d), int64(n+10); got != want {
					t.Errorf("forwarded %d bytes; want %d", got, want)
				}
			}
		})
	}
}

func TestCutCountsEachConnection(t *testing.T) {
	e := open(t)
	e.link.Set(Up, Fault{Cut: Reset, After: 100})
	first := e.server
	defer first.Close()
	e.passes(t, Up, 60)
	e.client.Close()
	e.connect(t)
	e.passes(t, Up, 99)
	go e.client.Write(pattern(50))
	if got, _ := io.ReadAll(e.server); len(got) != 1 {
		t.Errorf("got %d more bytes; want 1", len(got))
	}
}

func TestRefuse(t *testing.T) {
	e := open(t)
	if err := e.link.Refuse(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", e.link.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialing: %v, %v; want a refusal", c, err)
	}
	e.passes(t, Up, 1000) // open ones go on
	if err := e.link.Admit(); err != nil {
		t.Fatal(err)
	}
	e.client.Close()
	e.server.Close()
	e.connect(t)
	e.passes(t, Down, 1000)
}

// While connections are refused the port is nobody else's: neither by its number nor
// by chance.
func TestRefusingKeepsThePort(t *testing.T) {
	e := open(t)
	if err := e.link.Refuse(); err != nil {
		t.Fatal(err)
	}
	if ln, err := net.Listen("tcp", e.link.Addr()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("listening on the link's port: %v, %v; want it to be in use", ln, err)
	}
	if err := e.link.Admit(); err != nil {
		t.Fatal(err)
	}
	e.link.Close()
	ln, err := net.Listen("tcp", e.link.Addr())
	if err != nil {
		t.Fatalf("the port is kept after Close: %v", err)
	}
	ln.Close()
}

func TestServerDownResetsTheClient(t *testing.T) {
	e := open(t)
	e.ln.Close()
	c, err := net.Dial("tcp", e.link.Addr())
	if err == nil { // else the reset was there before Dial had returned
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v; want a reset", err)
	}
}

// Close must end what sits in every fault, and wait for it.
func TestCloseEndsEveryGoroutine(t *testing.T) {
	faults := []Fault{{}, {Blackhole: true}, {Stall: true}, {Delay: time.Hour}, {Rate: 1}, {Cut: FIN, After: 5}}
	for _, f := range faults {
		t.Run(fmt.Sprintf("%+v", f), func(t *testing.T) {
			e := open(t)
			e.link.Set(Both, f)
			e.client.Write(pattern(100))
			e.server.Write(pattern(100))
			start := time.Now()
			e.link.Close()
			e.link.Close() // may be called twice
			if took := time.Since(start); took > time.Second {
				t.Errorf("Close took %v", took)
			}
			buf := make([]byte, 1<<20)
			stacks := string(buf[:runtime.Stack(buf, true)])
			for _, name := range []string{"faultlink.(*Link)", "faultlink.(*way)", "faultlink.(*pair)"} {
				if strings.Contains(stacks, name) {
					t.Errorf("after Close there is still %s:\n%s", name, stacks)
				}
			}
		})
	}
}
