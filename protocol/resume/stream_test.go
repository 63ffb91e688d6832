package resume

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sidecar/protocol/resume/wire"
	"sidecar/session"
)

// begun is a client with a stream that was welcomed, and its backend.
func (r *rig) begun() (c *raw, l *line, b *peer) {
	r.t.Helper()
	c = r.raw()
	l = c.stream(c.hello())
	c.welcomed(l.frame())
	return c, l, r.back.next()
}

// carriers is how many carriers there are in all.
func (r *rig) carriers() (n int) {
	r.eachClient(func(c *client) { n += len(c.carriers) })
	return n
}

// wantEOF reads up to the end of a stream, before which only PINGs and ACKs come.
func (l *line) wantEOF() {
	l.t.Helper()
	for {
		f, err := l.read()
		if err == io.EOF {
			return
		}
		if err != nil || f.Type != wire.TypePing && f.Type != wire.TypeAck {
			l.t.Fatalf("got %s, %v; want the stream's end", show(f), err)
		}
	}
}

// §3.3, §10: over real sockets what TestStreamRotates shows of the clock.
func TestStreamPingsAndRotates(t *testing.T) {
	inEveryWay(t, func(t *testing.T, r *rig) {
		start := time.Now()
		_, l, _ := r.begun()
		pings := 0
		for {
			f, err := l.read()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if f.Type == wire.TypePing {
				pings++
			}
		}
		if pings == 0 {
			t.Error("no PING came")
		}
		if d := time.Since(start); d < 400*time.Millisecond || d > patience/2 {
			t.Errorf("the stream ended after %v; want 400 ms", d)
		}
		eventually(t, "carriers", 0, r.carriers)
	}, func(r *rig) {
		r.h.Settings.Rotate = 400 * time.Millisecond
		r.h.Heartbeat.Interval = 100 * time.Millisecond
	})
}

// A client that leaves a stream is away, and has all when it comes back.
func TestStreamWhoseClientLeaves(t *testing.T) {
	inEveryWay(t, func(t *testing.T, r *rig) {
		c, l, b := r.begun()
		b.say("one")
		l.wantText(1, "one")
		l.body.Close()
		eventually(t, "carriers", 0, r.carriers)
		b.say("two")
		again := c.stream(c.hello())
		c.welcomed(again.frame())
		again.wantText(2, "two")
	})
}

// narrow has the kernel take little for a client that reads nothing: else it takes
// megabytes.
func narrow(ctx context.Context, c net.Conn) context.Context {
	if over, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = over.NetConn()
	}
	c.(*net.TCPConn).SetWriteBuffer(16 << 10)
	return ctx
}

// A client that stops reading is found out by the time that a write has. It never leaves
// by itself.
func TestStreamThatIsNotTaken(t *testing.T) {
	inEveryWay(t, func(t *testing.T, r *rig) {
		c := r.raw()
		c.http.Timeout = 0
		l := c.stream(c.hello(func(h *wire.Hello) { h.Window = 64 << 20 }))
		c.welcomed(l.frame())
		b := r.back.next()
		go func() {
			for n := 0; n < 64 && b.WriteMessage(2, make([]byte, 1<<20)) == nil; n++ {
			}
		}()
		eventually(t, "carriers", 0, r.carriers)
		if n := r.all.Len(); n != 1 {
			t.Errorf("%d sessions; want 1, for its client may come back", n)
		}
	}, func(r *rig) {
		r.h.Desk.WriteTimeout = 300 * time.Millisecond
		r.Config.ConnContext = narrow
	})
}

// §3.3: a stream ends behind 4 MB, and the next goes on where it was.
func TestStreamEndsWhenItHasCarriedEnough(t *testing.T) {
	inEveryWay(t, func(t *testing.T, r *rig) {
		const count = 60
		big := strings.Repeat("z", 100_000)
		c, l, b := r.begun()
		go func() {
			for range count {
				b.say(big)
			}
		}()
		streams, bytes := 1, 0
		for got := 0; got < count*len(big); {
			f, err := l.read()
			switch {
			case err == io.EOF:
				if bytes < maxStream-len(big) || bytes > maxStream+2*piece {
					t.Errorf("a stream carried %d bytes of messages; want about 4 MB", bytes)
				}
				streams, bytes = streams+1, 0
				l = c.stream(c.hello(func(h *wire.Hello) { h.Received = uint64(got / len(big)); h.Partial = uint64(got % len(big)) }))
				c.welcomed(l.frame())
				continue
			case err != nil:
				t.Fatal(err)
			case f.Type != wire.TypeData:
				continue
			}
			d, err := wire.ParseData(f.Body)
			if err != nil || int(d.Number-1)*len(big)+int(d.Offset) != got {
				t.Fatalf("got message %d + %d, %v; want byte %d", d.Number, d.Offset, err, got)
			}
			got, bytes = got+len(d.Payload), bytes+len(d.Payload)
			if !d.More {
				c.ask(wire.Send, append(c.next(l.generation), ack(d.Number)...))
			}
		}
		if streams != 2 {
			t.Errorf("%d streams for 6 MB; want 2", streams)
		}
	})
}

// §6.2: a stream ends, by its end and not by a cut, when another has its place, and
// with GONE when the session ends.
func TestStreamThatLosesItsPlace(t *testing.T) {
	inEveryWay(t, func(t *testing.T, r *rig) {
		c, first, _ := r.begun()
		second := c.stream(c.hello(func(h *wire.Hello) { h.Generation = first.generation }))
		c.welcomed(second.frame())
		first.wantEOF()
		eventually(t, "carriers", 1, r.carriers)
		for _, s := range r.all.All() {
			s.End(session.Evicted, session.Close{Code: codeTryAgain})
		}
		second.wantGone("evicted")
		second.wantEOF()
		if f, err := c.stream(c.hello()).read(); err != nil || f.Type != wire.TypeGone {
			t.Errorf("then a stream begins with %s, %v; want GONE", show(f), err)
		}
	})
}
