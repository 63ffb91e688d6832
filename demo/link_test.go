package demo

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// mirror is a network whose other end sends back what it gets.
func mirror(t *testing.T) *link {
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	link := newLink(l.dial)
	t.Cleanup(link.close)
	return link
}

// through sends p by c and returns what comes back.
func through(c net.Conn, p string) (string, error) {
	failed := make(chan error, 1)
	go func() {
		_, err := c.Write([]byte(p))
		failed <- err
	}()
	got := make([]byte, len(p))
	n, err := io.ReadFull(c, got)
	return string(got[:n]), errors.Join(err, <-failed)
}

func mustDial(t *testing.T, dial dialFunc) net.Conn {
	t.Helper()
	c, err := dial(t.Context(), "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantThrough(t *testing.T, c net.Conn) {
	t.Helper()
	if got, err := through(c, "hello"); got != "hello" || err != nil {
		t.Errorf("got %q, %v; want hello", got, err)
	}
}

func TestLinkCutsAmidBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mirror(t)
		c := mustDial(t, l.dialHTTP)
		wantThrough(t, c)
		l.cut()
		if n, err := c.Write([]byte("hello")); n != 2 || err == nil {
			t.Errorf("%d bytes got through, error %v; want 2 and the end", n, err)
		}
		if _, err := c.Read(make([]byte, 9)); err == nil {
			t.Error("reading goes on behind a cut")
		}
		if l.cuts != 1 || len(l.strands) != 0 {
			t.Errorf("%d cuts counted, %d connections left; want 1 and 0", l.cuts, len(l.strands))
		}
		wantThrough(t, mustDial(t, l.dialHTTP))
	})
}

func TestLinkBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mirror(t)
		before := mustDial(t, l.dialWebSocket)
		l.blocks = true
		if _, err := l.dialWebSocket(t.Context(), "tcp", ""); !errors.Is(err, errRefused) {
			t.Errorf("blocked: %v; want %v", err, errRefused)
		}
		wantThrough(t, before)
		wantThrough(t, mustDial(t, l.dialHTTP))
		l.hangs = true
		hung := mustDial(t, l.dialWebSocket)
		time.AfterFunc(time.Hour, func() { hung.Close() })
		start := time.Now()
		got, err := through(hung, "hello")
		if took := time.Since(start); got != "" || err == nil || took != time.Hour {
			t.Errorf("hanging: got %q, %v after %v; want nothing until it is closed", got, err, took)
		}
		l.refuses = true
		if _, err := l.dialHTTP(t.Context(), "tcp", ""); !errors.Is(err, errRefused) {
			t.Errorf("refused: %v; want %v", err, errRefused)
		}
	})
}

func TestLinkStallsBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mirror(t)
		c := mustDial(t, l.dialHTTP)
		if _, err := c.Write([]byte("before")); err != nil {
			t.Fatal(err)
		}
		l.stall()
		time.AfterFunc(time.Minute, l.flow)
		start := time.Now()
		if got, err := through(c, "behind"); got != "before" || err != nil {
			t.Errorf("got %q, %v; want what was under way", got, err)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("bytes came after %v; want 1m", took)
		}
		l.stall()
		stuck := make(chan error, 1)
		go func() {
			_, err := through(c, "never")
			stuck <- err
		}()
		synctest.Wait()
		l.close()
		if err := <-stuck; err == nil {
			t.Error("a stall outlives its link")
		}
	})
}
