package acme

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A door is the port at which the authority's validation looks for every name, as port
// 80 or 443 of a machine that maps it to where the program listens. Behind it may be
// several programs, which get a connection each in turn; with none, connections are
// closed at once.
type door struct {
	port    int
	behind  atomic.Pointer[[]string]
	turn    atomic.Uint64
	callers atomic.Int64 // connections so far
	open    sync.WaitGroup
}

func newDoor(t testing.TB) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{port: l.Addr().(*net.TCPAddr).Port}
	d.lead()
	d.open.Go(func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			d.callers.Add(1)
			d.open.Go(func() { d.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		d.open.Wait()
	})
	return d
}

// lead says what is behind the door from now on, as host:port each.
func (d *door) lead(to ...string) { d.behind.Store(&to) }

func (d *door) serve(c net.Conn) {
	defer c.Close()
	behind := *d.behind.Load()
	if len(behind) == 0 {
		return
	}
	to, err := net.Dial("tcp", behind[(d.turn.Add(1)-1)%uint64(len(behind))])
	if err != nil {
		return
	}
	defer to.Close()
	var ways sync.WaitGroup
	ways.Go(func() { pass(to, c) })
	ways.Go(func() { pass(c, to) })
	ways.Wait()
}

// pass forwards bytes one way, and the end of the stream.
func pass(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.(*net.TCPConn).CloseWrite()
}
