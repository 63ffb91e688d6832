package resume

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
	"sidecar/session"
)

// A slow connection brings so many bytes a second.
type slow struct {
	net.Conn
	rate int
}

func (s slow) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p[:min(len(p), s.rate/4)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(s.rate))
	return n, err
}

// §3.1, §10: by a path of 1 kB/s a client hears something in time, although it sees
// nothing of a message until that is whole, and is heard by what it acknowledges.
func TestSlowPathIsNotSilent(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		d := websocket.Dialer{Subprotocols: wire.Offered(nil), NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := b.pipe.dial(ctx, network, addr)
			return slow{c, 1000}, err
		}}
		ws, _, err := d.Dial("ws://x/", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		l := &line{t: t, c: b.raw, ws: ws}
		l.send(b.hello())
		b.welcomed(l.frame())
		want := bytes.Repeat([]byte("slow "), 40_000)
		b.c.session.Deliver(session.Message{Data: want})
		silence := b.h.Heartbeat.Interval + b.h.Heartbeat.Timeout
		for in := (wire.Assembly{Limit: 1 << 20}); ; {
			before := time.Now()
			f := l.frame()
			if took := time.Since(before); took > silence {
				t.Errorf("heard nothing for %v; want a frame within %v", took, silence)
			}
			switch f.Type {
			case wire.TypePing:
				l.send(wire.AppendPong(nil, f.Body))
			case wire.TypeData:
				data, err := wire.ParseData(f.Body)
				if err != nil {
					t.Fatal(err)
				}
				got, whole, err := in.Add(data)
				if err != nil {
					t.Fatal(err)
				}
				if whole && !bytes.Equal(got, want) {
					t.Errorf("%d bytes came; want %d others", len(got), len(want))
				}
				if l.send(in.Ack(0).Append(nil)); whole {
					return
				}
			}
		}
	})
}

// §7.5: who reads a carrier hands small messages on by itself, but never waits for a
// backend that takes none.
func TestSlowBackendHoldsNobodyUp(t *testing.T) {
	const count = 200
	r := newRig(t)
	l := r.raw().websocket()
	b := r.back.next()
	socket := b.NetConn().(*net.TCPConn)
	if err := socket.SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	fill := strings.Repeat("x", 1000)
	for n := range uint64(count) {
		mark := fmt.Sprint(n)
		l.send(text(n+1, mark+fill), wire.AppendPing(nil, []byte(mark)))
		for f := l.frame(); ; f = l.frame() {
			if f.Type == wire.TypePong {
				if string(f.Body) != mark {
					t.Fatalf("pong %q; want %q", f.Body, mark)
				}
				break
			}
		}
	}
	r.eachClient(func(c *client) {
		if len(c.up.queue) == 0 {
			t.Error("the backend has all, though it reads nothing")
		}
	})
	if err := socket.SetReadBuffer(1 << 20); err != nil {
		t.Fatal(err)
	}
	for n := range count {
		b.want(fmt.Sprint(n) + fill)
	}
}

// A crossing is a backend to which another carrier brings a message between its word that
// it takes what there is and that being handed on.
type crossing struct {
	session.Backend
	client  *client
	brought []byte
	read    chan struct{} // closed when the reader of the first carrier goes on
	waited  chan bool     // whether it had to wait for the second message
}

func (b *crossing) Ready(n int) bool {
	b.client.mu.Lock()
	b.client.take(b.brought, time.Now())
	b.client.mu.Unlock()
	return b.Backend.(ready).Ready(n)
}

func (b *crossing) Passed(up bool, size int) {
	if up && size > 4<<10 {
		select {
		case <-b.read:
			b.waited <- false
		case <-time.After(patience / 4):
			b.waited <- true
		}
	}
}

func (*crossing) Opened()                             {}
func (*crossing) Ended(session.Reason, time.Duration) {}
func (*crossing) Attached(time.Duration)              {}
func (*crossing) Skipped(int)                         {}
func (*crossing) Paused()                             {}

// §7.5: who reads a carrier hands on what the backend was asked for and no more, whatever
// another carrier brings meanwhile.
func TestReaderHandsOnNoMoreThanItAskedFor(t *testing.T) {
	large := strings.Repeat("x", 40<<10)
	b := &crossing{brought: text(2, large), read: make(chan struct{}), waited: make(chan bool, 1)}
	r := newRig(t, func(r *rig) { r.h.Observer = b })
	r.raw().websocket()
	back := r.back.next()
	r.eachClient(func(c *client) { b.client, b.Backend, c.backend = c, c.backend, b })
	c := b.client
	c.mu.Lock()
	taken, size := c.take(text(1, "little"), time.Now()), c.up.size
	c.mu.Unlock()
	if !taken.after.hand {
		t.Fatal("there is nothing to hand on")
	}
	c.handAtOnce(1, size)
	close(b.read)
	back.want("little")
	back.want(large)
	if <-b.waited {
		t.Error("it waited for what another had brought")
	}
}

// A consulted backend tells what it was asked.
type consulted struct {
	session.Backend
	asked chan int
}

func (b *consulted) Ready(n int) bool {
	b.asked <- n
	return b.Backend.(ready).Ready(n)
}

// The kernel's room is less for many little messages than for one of their size.
func TestManyMessagesAreNotHandedOnAtOnce(t *testing.T) {
	r := newRig(t)
	l := r.raw().websocket()
	back := r.back.next()
	b := &consulted{asked: make(chan int, 10)}
	r.eachClient(func(c *client) { b.Backend, c.backend = c.backend, b })
	next := uint64(1)
	for count := 1; count <= 5; count++ {
		var frames []byte
		for range count {
			frames = append(frames, text(next, fmt.Sprint(next))...)
			next++
		}
		l.send(frames)
		for n := next - uint64(count); n < next; n++ {
			back.want(fmt.Sprint(n))
		}
		r.eachClient(func(c *client) {
			for c.up.handing { // the last was written, but is not accounted for
				c.mu.Unlock()
				runtime.Gosched()
				c.mu.Lock()
			}
		})
		if asked := len(b.asked); asked != min(count, 4) {
			t.Errorf("after %d messages at once the backend was asked %d times; want %d", count, asked, min(count, 4))
		}
	}
}
