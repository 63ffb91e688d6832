package proxy

import (
	"net"
	"testing"
	"time"

	"sidecar/heartbeat"
	"sidecar/loop"
)

// An ending reports a pair's end.
type ending struct {
	hearsay
	over chan string
}

func (e *ending) ended(p *pair) { e.over <- p.cause }

// tcpPair returns both ends of a connection.
func tcpPair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	ln := listen(t)
	far = newPeer(t, must(net.Dial("tcp", ln.Addr().String())), true).conn.TCPConn
	near = newPeer(t, must(ln.Accept()), true).conn.TCPConn
	return near, far
}

func must(c net.Conn, err error) net.Conn {
	if err != nil {
		panic(err)
	}
	return c
}

func startGroup(t *testing.T) *loop.Group {
	t.Helper()
	g, err := loop.StartGroup()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Stop)
	return g
}

func loosePair(t *testing.T) (*pair, *ending) {
	p := newPair(time.Now(), heartbeat.Policy{}, DefaultLimits(), extensions{}, mark)
	e := &ending{over: make(chan string, 2)}
	p.report = e
	return p, e
}

// A client that takes not even the answer to its handshake must not hold up a
// drain that cuts.
func TestCutBeforeStart(t *testing.T) {
	g := startGroup(t)
	for _, looped := range []bool{false, true} {
		near, _ := tcpPair(t)
		back, _ := tcpPair(t)
		near.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		for _, err := near.Write(make([]byte, 1<<20)); err == nil; {
			_, err = near.Write(make([]byte, 1<<20))
		}
		p, e := loosePair(t)
		var r relayed = newRelay(p, near, back)
		if looped {
			r = newLooped(g.Pick(), p, near, back)
		}
		near.SetWriteDeadline(time.Now().Add(10 * time.Second))
		go func() {
			near.Write([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n"))
			r.start(nil)
		}()
		begun := time.Now()
		r.cut()
		<-e.over
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("looped %v: cut took %v", looped, d)
		}
	}
}

// Where one socket cannot be had, out of descriptors say, the other end is told.
func TestSocketThatCannotBeAdded(t *testing.T) {
	g := startGroup(t)
	for _, s := range []side{client, backend} {
		var near, far [2]*net.TCPConn
		for i := range near {
			near[i], far[i] = tcpPair(t)
		}
		p, e := loosePair(t)
		r := newLooped(g.Pick(), p, near[client], near[backend])
		near[s].Close()
		r.start(nil)
		other := newPeer(t, far[s.other()], s == backend)
		other.wantClose(told(s.other(), s.String()+"_gone"))
		other.conn.Close()
		if cause := <-e.over; cause != s.String()+"_gone" {
			t.Errorf("cause = %q; want %v_gone", cause, s)
		}
	}
}

// A relay that a stopped loop left is nobody's, but does nobody harm.
func TestRelayOnStoppedLoop(t *testing.T) {
	g := startGroup(t)
	near, far := tcpPair(t)
	back, _ := tcpPair(t)
	p, e := loosePair(t)
	r := newLooped(g.Pick(), p, near, back)
	g.Stop()
	r.start(nil)
	if n, err := far.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes; want the end", n)
	}
	r.cut()
	if cause := <-e.over; cause == "" {
		t.Error("ended for no cause")
	}
}
