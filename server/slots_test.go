package server

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A pipes is a listener whose clients are put in by the test.
type pipes struct {
	mu    sync.Mutex
	errs  []error // what Accept returns first
	asked atomic.Int32
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn, 100), done: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	p.asked.Add(1)
	p.mu.Lock()
	if len(p.errs) > 0 {
		err := p.errs[0]
		p.errs = p.errs[1:]
		p.mu.Unlock()
		return nil, err
	}
	p.mu.Unlock()
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() {
	c, _ := net.Pipe()
	p.conns <- c
}

// A limitTest is a limited listener over pipes with a goroutine that accepts.
type limitTest struct {
	pipes    *pipes
	listener *limited
	pauses   atomic.Int32
	log      bytes.Buffer
	accepted chan net.Conn
	ended    chan error
}

func newLimitTest(n int) *limitTest {
	lt := &limitTest{pipes: newPipes(), accepted: make(chan net.Conn, 100), ended: make(chan error, 1)}
	s := newSlots(n, slog.New(slog.NewTextHandler(&lt.log, nil)), func() { lt.pauses.Add(1) })
	lt.listener = limit(lt.pipes, s)
	return lt
}

func (lt *limitTest) serve() {
	for {
		c, err := lt.listener.Accept()
		if err != nil {
			lt.ended <- err
			return
		}
		lt.accepted <- c
	}
}

func (lt *limitTest) stop(t *testing.T) {
	t.Helper()
	_ = lt.listener.Close()
	if err := <-lt.ended; err == nil {
		t.Error("Accept went on after Close")
	}
}

func TestAcceptWaitsAtTheBoundAndGoesOnAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lt := newLimitTest(2)
		go lt.serve()
		for range 5 {
			lt.pipes.dial()
		}
		synctest.Wait()
		if got := len(lt.accepted); got != 2 {
			t.Fatalf("%d accepted; want 2", got)
		}
		start := time.Now()
		_ = (<-lt.accepted).Close()
		synctest.Wait()
		if got := len(lt.accepted); got != 2 {
			t.Errorf("%d held after one closed; want 2", got)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the next waited %v after one closed; want 0s", took)
		}
		if got := lt.listener.slots.open(); got != 2 {
			t.Errorf("%d counted open; want 2", got)
		}
		lt.stop(t)
	})
}

func TestClosingTwiceFreesOneSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lt := newLimitTest(1)
		go lt.serve()
		for range 3 {
			lt.pipes.dial()
		}
		c := <-lt.accepted
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { _ = c.Close() })
		}
		wg.Wait()
		synctest.Wait()
		if got := len(lt.accepted); got != 1 {
			t.Errorf("closing one connection four times let %d in; want 1", got)
		}
		lt.stop(t)
	})
}

func TestOneLineAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lt := newLimitTest(40)
		go lt.serve()
		for range 60 {
			lt.pipes.dial()
		}
		synctest.Wait()
		for range 10 { // churn at the bound: waits, but no more lines
			_ = (<-lt.accepted).Close()
			synctest.Wait()
		}
		if got := lt.pauses.Load(); got != 11 {
			t.Errorf("%d waits counted; want 11", got)
		}
		if got := strings.Count(lt.log.String(), "\n"); got != 1 {
			t.Errorf("%d log lines; want 1:\n%s", got, lt.log.String())
		}
		for range 60 { // all leave and as many come: no bound is new
			_ = (<-lt.accepted).Close()
			lt.pipes.dial()
		}
		synctest.Wait()
		if got := strings.Count(lt.log.String(), "\n"); got != 1 {
			t.Errorf("%d log lines in one minute; want 1:\n%s", got, lt.log.String())
		}
		time.Sleep(logEvery)
		_ = (<-lt.accepted).Close()
		synctest.Wait()
		if got := strings.Count(lt.log.String(), "\n"); got != 2 {
			t.Errorf("%d log lines after a minute; want 2:\n%s", got, lt.log.String())
		}
		lt.stop(t)
	})
}

func TestOutOfDescriptorsNeitherSpinsNorFloods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lt := newLimitTest(10)
		for range 1000 {
			lt.pipes.errs = append(lt.pipes.errs, &net.OpError{Op: "accept", Err: syscall.EMFILE})
		}
		go lt.serve()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := lt.pipes.asked.Load(); got > 20 {
			t.Errorf("asked the kernel %d times in 10 s; want 20 at most", got)
		}
		if got := strings.Count(lt.log.String(), "\n"); got != 1 {
			t.Errorf("%d log lines; want 1", got)
		}
		lt.stop(t)
	})
}

func TestAFreedDescriptorIsUsedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lt := newLimitTest(10)
		lt.pipes.dial()
		held, err := lt.listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		for range 7 { // rests of 10 ms to 640 ms
			lt.pipes.errs = append(lt.pipes.errs, syscall.ENFILE)
		}
		go lt.serve()
		time.Sleep(700 * time.Millisecond) // within the last rest
		lt.pipes.dial()
		start := time.Now()
		_ = held.Close()
		c := <-lt.accepted
		if took := time.Since(start); took != 0 {
			t.Errorf("accepted %v after a descriptor was freed; want 0s", took)
		}
		_ = c.Close()
		lt.stop(t)
	})
}

func TestCloseEndsAWaitingAccept(t *testing.T) {
	for _, c := range []struct {
		name  string
		slots int
		errs  []error
	}{{"at the bound", 1, nil}, {"in the kernel", 5, nil}, {"out of descriptors", 5, []error{syscall.EMFILE, syscall.EMFILE}}} {
		synctest.Test(t, func(t *testing.T) {
			lt := newLimitTest(c.slots)
			lt.pipes.errs = c.errs
			if c.errs == nil {
				lt.pipes.dial()
			}
			go lt.serve()
			synctest.Wait()
			lt.stop(t)
		})
	}
}

func TestAnotherErrorOfAcceptGivesTheSlotBack(t *testing.T) {
	lt := newLimitTest(3)
	lt.pipes.errs = []error{syscall.EINVAL}
	if _, err := lt.listener.Accept(); err != syscall.EINVAL {
		t.Fatalf("got %v; want %v", err, syscall.EINVAL)
	}
	if got := lt.listener.slots.open(); got != 0 {
		t.Errorf("%d slots held; want 0", got)
	}
}

func TestConnHalfCloses(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = "unix:" + t.TempDir() + "/s"
			}
			inner, err := listen(address)
			if err != nil {
				t.Fatal(err)
			}
			l := limit(inner, newSlots(5, slog.New(slog.DiscardHandler), func() {}))
			defer l.Close()
			client, err := net.Dial(network, l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil || err.Error() != "EOF" {
				t.Errorf("client read %d, %v; want EOF", n, err)
			}
			if _, err := client.Write([]byte("x")); err != nil {
				t.Errorf("the other half: %v", err)
			}
			if n, err := c.Read(make([]byte, 1)); n != 1 {
				t.Errorf("the other half: read %d, %v; want 1 byte", n, err)
			}
			switch under := c.(interface{ NetConn() net.Conn }).NetConn().(type) {
			case *net.TCPConn, *net.UnixConn:
			default:
				t.Errorf("beneath is a %T", under)
			}
		})
	}
}

// Whoever takes the socket out of a connection gives the token back, once, and
// the connection itself no more.
func TestVacatedConnectionsGiveTheirTokenBack(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newSlots(5, slog.New(slog.DiscardHandler), func() {})
	l := limit(inner, s)
	defer l.Close()
	client, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	left := c.(interface{ Vacate() io.Closer }).Vacate()
	again := c.(interface{ Vacate() io.Closer }).Vacate()
	for _, step := range []struct {
		what string
		c    io.Closer
		open int
	}{{"the connection", c, 1}, {"a second token", again, 1}, {"the token", left, 0}, {"the token again", left, 0}} {
		if step.c.Close(); s.open() != step.open {
			t.Errorf("%d sockets open after closing %s; want %d", s.open(), step.what, step.open)
		}
	}
}
