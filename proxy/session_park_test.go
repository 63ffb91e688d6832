package proxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
	"time"

	"sidecar/loop"
	"sidecar/session"
)

// parked is how many of the hall's hops wait in loops.
func (h *hall) parked() (n int) {
	for _, r := range h.live.list() {
		var p *hop
		switch r := r.(type) {
		case *Link:
			p = &r.hop
		case *Carrier:
			p = &r.hop
		default:
			continue
		}
		p.mu.Lock()
		l := p.loop
		p.mu.Unlock()
		if l != nil {
			l.Do(func() {
				if !p.parked.Open() {
					return
				}
				n++
				if p.chunk != nil {
					h.t.Error("a buffer waits with it")
				}
			})
		}
	}
	return n
}

func (h *hall) wantParked(n int) {
	h.t.Helper()
	if !loop.Native {
		h.t.Skip("nothing is parked here")
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); h.parked() != n; <-tick.C {
		if time.Now().After(end) {
			h.t.Fatalf("%d are parked; want %d", h.parked(), n)
		}
	}
}

// An idle session has no goroutine, and goes on all the same.
func TestIdleSessionsHaveNoGoroutine(t *testing.T) {
	others := len(hopReaders())
	h, front, back := open(t, "/", nil)
	for range 5 {
		h.wantParked(2)
		if n := len(hopReaders()) - others; n > 0 {
			t.Errorf("%d goroutines read; want none", n)
		}
		front.send(front.frame(0x80|opText, "up"))
		back.want(0x80|opText, "up")
		h.wantParked(2)
		back.send(back.frame(0x80|opPing, "now"))
		back.want(0x80|opPong, "now")
		back.send(back.frame(0x80|opText, "down"))
		front.want(0x80|opText, "down")
	}
	h.wantParked(2)
	front.send(front.frame(0x80|opClose, "\x0f\xa1bye"))
	back.wantClose(4001)
	back.send(back.frame(0x80|opClose, "\x0f\xa1"))
	h.wantGone(4001)
	front.wantClose(4001)
	front.wantEnd()
}

// What comes after a pause has its reader parked again at once, what follows it soon
// does not.
func TestWhatIsRareIsParkedAtOnce(t *testing.T) {
	for _, first := range []byte{opText, opPing} {
		d := &stageDoor{t: t, ln: listen(t)}
		h := newHall(t, d.url(), nil)
		h.dialer.terms.pause, h.carriers.terms.pause = time.Hour, time.Hour
		accepted := make(chan *peer, 1)
		go func() { accepted <- d.accept() }()
		front := h.client("/")
		back := <-accepted
		pass := func(op byte) {
			for _, way := range [][2]*peer{{front, back}, {back, front}} {
				from, to, answer := way[0], way[1], op
				if op == opPing {
					to, answer = from, opPong
				}
				from.send(from.frame(0x80|op, "now"))
				to.want(0x80|answer, "now")
			}
		}
		if n := h.parked(); n != 0 {
			t.Errorf("%d are parked before anything came", n)
		}
		pass(first)
		h.wantParked(2)
		pass(opText)
		h.wantParked(0)
		pass(opText)
		if n := h.parked(); n != 0 {
			t.Errorf("%d are parked while it is busy", n)
		}
	}
}

// The end that came with a message is not waited for in a loop.
func TestAnEndThatCameWithAMessage(t *testing.T) {
	for _, close := range []bool{true, false} {
		h, front, back := open(t, "/", nil)
		h.wantParked(2)
		b := back.frame(0x80|opText, "last")
		if close {
			b = append(b, back.frame(0x80|opClose, "\x0f\xa1")...)
		}
		back.send(b)
		if !close {
			back.conn.Close()
		}
		front.want(0x80|opText, "last")
		if close {
			front.wantClose(4001)
		} else {
			front.wantClose(codeRestarting)
		}
	}
}

// Who leaves while both ends are parked is found out at once.
func TestLeavingParkedSessions(t *testing.T) {
	for _, reset := range []bool{false, true} {
		h, front, back := open(t, "/", nil)
		s := <-h.opened
		h.wantParked(2)
		if reset {
			front.reset()
		} else {
			front.conn.Close()
		}
		h.wantGone(codeAbnormal)
		again := h.client("/?resume=" + s.ID())
		h.wantParked(2)
		if reset {
			back.reset()
		} else {
			back.conn.Close()
		}
		again.wantClose(1012)
	}
}

// Connections that are cut while they are parked end as others do.
func TestCuttingParkedSessions(t *testing.T) {
	h, front, back := open(t, "/", nil)
	h.wantParked(2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n := h.live.Drain(ctx, 0, codeGoingAway, "over"); n != 2 {
		t.Errorf("%d were cut; want 2", n)
	}
	if n := h.live.Len(); n != 0 {
		t.Errorf("%d are left; want none", n)
	}
	select {
	case <-h.gone:
	case <-time.After(20 * time.Second):
		t.Error("the codec was told nothing")
	}
	front.conn.Close()
	back.conn.Close()
}

// A message whose frames are far apart is read by one goroutine, which is not parked
// between them.
func TestNoParkingWithinAMessage(t *testing.T) {
	h, front, back := open(t, "/", nil)
	h.wantParked(2)
	front.send(front.frame(opText, "one "))
	h.wantParked(1)
	<-time.After(20 * time.Millisecond) // ten pauses
	h.wantParked(1)
	front.send(front.frame(0, "two "))
	<-time.After(20 * time.Millisecond)
	front.send(front.frame(0x80, "three"))
	if got := back.message(); got != "one two three" {
		t.Errorf("got %q; want all of it", got)
	}
	h.wantParked(2)
}

// Messages come at any time from before a hop is parked to after.
func TestParkingRacesMessages(t *testing.T) {
	crowd(t, 150, func(k int) string { return fmt.Sprint(k) }, func(from *peer, rng *rand.Rand, text string) {
		from.send(from.frame(0x80|opText, text))
		<-time.After(time.Duration(rng.IntN(5000)) * time.Microsecond)
	})
}

// Sessions end at any time from before a hop is parked to after.
func TestParkingRacesTheEnd(t *testing.T) {
	for i := range 60 {
		h, front, back := open(t, "/", nil)
		s := <-h.opened
		<-time.After(time.Duration(i*100) * time.Microsecond)
		s.End(session.Drained, session.Close{Code: codeGoingAway})
		back.wantClose(codeGoingAway)
		back.conn.Close()
		front.conn.Close()
		select {
		case <-h.gone:
		case <-time.After(20 * time.Second):
			t.Fatal("the codec was told nothing")
		}
		h.empty()
	}
}

// Half a control frame is no message: what waits for the rest of it is parked.
func TestParkingWithinAControlFrame(t *testing.T) {
	_, front, back := open(t, "/", nil)
	for range 3 {
		f := front.frame(0x80|opPing, "parts")
		for _, b := range [][]byte{f[:1], f[1:7], f[7:]} {
			front.send(b)
			<-time.After(10 * time.Millisecond) // five pauses
		}
		front.want(0x80|opPong, "parts")
	}
	front.send(front.frame(0x80|opText, "up"))
	back.want(0x80|opText, "up")
}

// both reads two frames, which may come in either order.
func (p *peer) both(a, b byte, payload string) {
	p.t.Helper()
	var got [2]byte
	for i := range got {
		g, err := p.next()
		if err != nil || g.payload != payload {
			p.t.Fatalf("got %x %q, %v; want %q", g.first, g.payload, err, payload)
		}
		got[i] = g.first
	}
	if got != [2]byte{a, b} && got != [2]byte{b, a} {
		p.t.Errorf("got %x; want %x and %x", got, a, b)
	}
}

// Each end is written to by several at once, while it is parked or comes from there.
func TestWritingToParkedHops(t *testing.T) {
	h, front, back := open(t, "/", nil)
	for i := range 50 {
		h.wantParked(2)
		text := fmt.Sprint(i)
		for _, p := range []*peer{front, back} {
			p.send(p.frame(0x80|opPing, text))
			p.send(p.frame(0x80|opText, text))
		}
		front.both(0x80|opText, 0x80|opPong, text)
		back.both(0x80|opText, 0x80|opPong, text)
	}
}

// Where the loops have stopped, readers wait by themselves.
func TestStoppedLoops(t *testing.T) {
	d := &stageDoor{t: t, ln: listen(t)}
	h := newHall(t, d.url(), nil)
	h.dialer.terms.loops.Stop()
	h.carriers.terms.loops.Stop()
	accepted := make(chan *peer, 1)
	go func() { accepted <- d.accept() }()
	front := h.client("/")
	back := <-accepted
	for range 3 {
		front.send(front.frame(0x80|opText, "up"))
		back.want(0x80|opText, "up")
		<-time.After(10 * time.Millisecond) // five pauses
		back.send(back.frame(0x80|opText, "down"))
		front.want(0x80|opText, "down")
	}
	if n := h.parked(); n != 0 {
		t.Errorf("%d are parked in loops that do not run", n)
	}
}

// A backend on a unix socket waits in a loop as well.
func TestParkingOnAUnixSocket(t *testing.T) {
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	echoOn(t, ln)
	h := newHall(t, "ws://backend", func(h *hall) {
		if h.dialer.Backend, err = NewBackend(Upstream{URL: "ws://backend", Socket: ln.Addr().String()}, "/"); err != nil {
			t.Fatal(err)
		}
	})
	front := h.client("/")
	for range 3 {
		h.wantParked(2)
		front.send(front.frame(0x80|opText, "up"))
		front.want(0x80|opText, "up")
	}
}

// TLS keeps what it has read, of which a loop sees nothing.
func TestNoParkingThroughTLS(t *testing.T) {
	h, front, back := openSecure(t, nil)
	for range 3 {
		front.send(front.frame(0x80|opText, "up"))
		back.want(0x80|opText, "up")
		<-time.After(10 * time.Millisecond) // five pauses
		back.send(back.frame(0x80|opText, "down"))
		front.want(0x80|opText, "down")
	}
	if n := h.parked(); n != 0 {
		t.Errorf("%d are parked; want none", n)
	}
}
