package proxy

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"sidecar/heartbeat"
)

func TestRelayEchoes(t *testing.T) {
	w := connect(t, setup{})
	for _, n := range []int{0, 1, 125, 126, 1 << 10, 1<<16 - 1, 1 << 16, 1 << 20} {
		text := strings.Repeat("x", n)
		go w.client.send(w.client.frame(0x80|opText, text))
		w.backend.want(0x80|opText, text)
		go w.backend.send(w.backend.frame(0x80|opBinary, text))
		w.client.want(0x80|opBinary, text)
	}
	w.client.send(w.client.frame(0x80|opClose, "\x03\xe8bye"))
	w.backend.want(0x80|opClose, "\x03\xe8bye")
	w.backend.send(w.backend.frame(0x80|opClose, "\x03\xe8bye"))
	w.client.want(0x80|opClose, "\x03\xe8bye")
	w.client.wantEnd()
	w.backend.wantEnd()
	if line := w.ended(t); !strings.Contains(line, `"cause":"client_close","code":1000,"reason":"bye"`) {
		t.Errorf("log = %s; want client_close 1000 bye", line)
	}
	if w.seen.messages != [2]int{8, 8} || w.seen.bytes[client] < 1<<20 || !w.seen.has("opened") || !w.seen.has("closed client_close") {
		t.Errorf("observed %v messages, %v bytes, %q", w.seen.messages, w.seen.bytes, w.seen.events)
	}
}

// After a closing handshake the client is hung up on, as by any server; the
// backend may hang up itself, and is hung up on if it does not.
func TestBackendHangsUpFirst(t *testing.T) {
	w := connect(t, setup{})
	w.client.send(w.client.frame(0x88, "\x03\xe8"))
	w.backend.want(0x88, "\x03\xe8")
	w.backend.send(w.backend.frame(0x88, "\x03\xe8"))
	w.client.want(0x88, "\x03\xe8")
	start := time.Now()
	w.client.wantEnd()
	if d := time.Since(start); d > closeGrace/2 {
		t.Errorf("the client was hung up on after %v", d)
	}
	w.backend.wantEnd()
	if d := time.Since(start); d < closeGrace/2 {
		t.Errorf("the backend was hung up on after %v; want %v", d, closeGrace)
	}
}

// A socket that ends without a close: the other end is told, by the documented
// rule, once it has all that was sent before.
func TestSocketsThatEndWithoutAClose(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(p *peer)
	}{
		{"FIN", func(p *peer) { p.conn.CloseWrite() }},
		{"closed", func(p *peer) { p.conn.Close() }},
		{"RST", (*peer).reset},
	} {
		for _, s := range []side{client, backend} {
			t.Run(fmt.Sprint(c.name, " from ", s), func(t *testing.T) {
				t.Parallel()
				w := connect(t, setup{})
				from, to, code := w.client, w.backend, codeGoingAway
				if s == backend {
					from, to, code = to, from, codeRestarting
				}
				from.send(from.frame(0x81, "last words"))
				to.want(0x81, "last words") // a reset destroys what is on its way
				c.end(from)
				to.wantClose(code)
				to.wantEnd()
				if line := w.ended(t); !strings.Contains(line, `"cause":"`+s.String()+`_gone","code":1006`) {
					t.Errorf("log = %s; want %v_gone", line, s)
				}
			})
		}
	}
}

// In the middle of a frame no close frame can follow: the end of the socket must
// do, and must come.
func TestSocketThatEndsInMidFrame(t *testing.T) {
	both(t, setup{}, func(t *testing.T, from, to *peer) {
		f := from.frame(0x82, strings.Repeat("x", 1000))
		from.send(f[:500])
		from.conn.CloseWrite()
		to.wantBytes(f[:500])
		if n, err := io.Copy(io.Discard, to.r); n != 0 || err != nil {
			t.Errorf("then %d bytes and %v; want the end", n, err)
		}
	})
}

// A backend that says why it closes and goes at once must be heard, although
// writing to it fails.
func TestLastWordsSurviveAFailedWrite(t *testing.T) {
	both(t, setup{}, func(t *testing.T, from, to *peer) {
		for i := range 100 {
			from.send(from.frame(0x81, fmt.Sprint("message ", i)))
		}
		from.send(from.frame(0x88, "\x0f\xa1why"))
		from.conn.CloseWrite()
		go func() { // until it fails: the other direction finds the end gone
			for {
				if _, err := to.conn.Write(to.frame(0x81, "are you there?")); err != nil {
					return
				}
			}
		}()
		for i := range 100 {
			to.want(0x81, fmt.Sprint("message ", i))
		}
		to.wantClose(4001)
	})
}

var quick = heartbeat.Policy{Interval: 100 * time.Millisecond, Timeout: 100 * time.Millisecond}

func TestHeartbeatOverSockets(t *testing.T) {
	w := connect(t, setup{beat: quick})
	for _, p := range []*peer{w.client, w.backend} {
		go func() { // an end that does nothing but answer pings
			for {
				g, err := p.next()
				if err != nil || g.first == 0x88 {
					return
				}
				p.conn.Write(p.frame(0x8a, g.payload))
			}
		}()
	}
	for _, want := range []string{"answered client", "answered backend"} {
		for start := time.Now(); !w.seen.has(want); time.Sleep(time.Millisecond) {
			if time.Since(start) > 10*time.Second {
				t.Fatalf("%s: not within 10s", want)
			}
		}
	}
	w.client.send(w.client.frame(0x88, "\x03\xe8"))
}

func TestSilentEndIsGivenUp(t *testing.T) {
	for _, s := range []side{client, backend} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			w := connect(t, setup{beat: quick})
			silent, other := w.client, w.backend
			if s == backend {
				silent, other = other, silent
			}
			stop := make(chan struct{})
			go func() { // the other end lives, and talks
				for {
					select {
					case <-stop:
						return
					case <-time.After(10 * time.Millisecond):
						other.conn.Write(other.frame(0x81, "tick"))
					}
				}
			}()
			defer close(stop)
			start := time.Now()
			other.wantClose(otherCode(other))
			if d := time.Since(start); d > 5*time.Second { // 0.2s on an idle machine
				t.Errorf("noticed after %v", d)
			}
			silent.wantClose(codeGoingAway)
			if line := w.ended(t); !strings.Contains(line, s.String()+"_timeout") {
				t.Errorf("log = %s; want %v_timeout", line, s)
			}
		})
	}
}

// An end that takes nothing stops the other, holds a bounded number of bytes,
// and is given up in the end; the one that is stopped is not to blame.
func TestSlowReaderStopsTheSender(t *testing.T) {
	both(t, setup{beat: quick, limits: Limits{WriteTimeout: 700 * time.Millisecond}}, func(t *testing.T, from, to *peer) {
		to.conn.SetReadBuffer(64 << 10)
		block := from.frame(0x82, strings.Repeat("x", 64<<10))
		sent := 0
		for start := time.Now(); ; start = time.Now() {
			from.conn.SetWriteDeadline(start.Add(300 * time.Millisecond))
			n, err := from.conn.Write(block)
			if sent += n; err != nil {
				break // pressure has come through
			}
			if sent > 16<<20 {
				t.Fatal("16 MiB were taken for an end that reads nothing")
			}
		}
		t.Logf("%d KiB taken before the sender was stopped", sent>>10)
		from.wantClose(otherCode(from))
	})
}

// A slow reader that does read loses nothing and is not given up, however long
// the other waits.
func TestSlowReaderIsServed(t *testing.T) {
	both(t, setup{limits: Limits{WriteTimeout: 500 * time.Millisecond}}, func(t *testing.T, from, to *peer) {
		to.conn.SetReadBuffer(slowBuffer())
		data := make([]byte, 8<<20)
		rand.Read(data)
		f := from.frame(0x82, string(data))
		go from.conn.Write(f)
		got := make([]byte, 0, len(f))
		tick := time.NewTicker(time.Millisecond) // the pace is the test
		defer tick.Stop()
		for len(got) < len(f) {
			n, err := to.r.Read(got[len(got):min(len(f), len(got)+8<<10)])
			if got = got[:len(got)+n]; err != nil {
				t.Fatalf("after %d of %d bytes: %v", len(got), len(f), err)
			}
			if len(got)%(64<<10) < n {
				<-tick.C
			}
		}
		if string(got) != string(f) {
			t.Error("bytes arrived changed")
		}
	})
}

// A slow reader with much still to read answers our pings late, but shows by
// reading that it lives.
func TestSlowReaderKeepsItsHeartbeat(t *testing.T) {
	both(t, setup{beat: heartbeat.Policy{Interval: 300 * time.Millisecond, Timeout: 300 * time.Millisecond}},
		func(t *testing.T, from, to *peer) {
			to.conn.SetReadBuffer(16 << 10)
			go func() { // answers nothing, for it is not read itself half of the time
				message := from.frame(0x82, strings.Repeat("x", 1000))
				for {
					if _, err := from.conn.Write(message); err != nil {
						return
					}
				}
			}()
			tick := time.NewTicker(20 * time.Millisecond) // the pace is the test
			defer tick.Stop()
			for start := time.Now(); time.Since(start) < 3*time.Second; <-tick.C {
				for range 8 {
					g, err := to.next()
					if err != nil || g.first == 0x88 {
						t.Fatalf("after %v: %#x %q, %v", time.Since(start), g.first, g.payload, err)
					}
					if g.first == 0x89 {
						to.conn.Write(to.frame(0x8a, g.payload))
					}
				}
			}
		})
}

func TestDrainAsksEverybodyAndWaits(t *testing.T) {
	w := connect(t, setup{})
	cut := make(chan int)
	go func() { cut <- w.live.Drain(context.Background(), 0, 1001, "stopping") }()
	for _, p := range []*peer{w.client, w.backend} {
		p.wantClose(1001)
		p.send(p.frame(0x88, "\x03\xe9"))
		p.conn.Close()
	}
	if n := <-cut; n != 0 || w.live.Len() != 0 {
		t.Errorf("Drain cut %d, %d left; want none", n, w.live.Len())
	}
	if line := w.ended(t); !strings.Contains(line, `"cause":"drain","code":1001,"reason":"stopping"`) {
		t.Errorf("log = %s; want drain 1001", line)
	}
}

func TestDrainCutsWhoeverStays(t *testing.T) {
	w := connect(t, setup{})
	f := w.client.frame(0x82, strings.Repeat("x", 1000))
	w.client.send(f[:500]) // no close frame can go to the backend
	w.backend.wantBytes(f[:500])
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if n := w.live.Drain(ctx, 0, 1001, ""); n != 1 {
		t.Errorf("Drain cut %d; want 1", n)
	}
	if d := time.Since(start); d > 900*time.Millisecond {
		t.Errorf("Drain took %v after its context's 100ms", d)
	}
	w.client.wantClose(1001)
}

func TestDrainSpreadsItsCloses(t *testing.T) {
	const n = 5
	var all Live
	closed := make(chan time.Time, n)
	for range n {
		w := connect(t, setup{live: &all})
		go func() {
			if g, err := w.client.next(); err == nil && g.first == 0x88 {
				closed <- time.Now()
			}
			w.client.conn.Close()
			w.backend.conn.Close()
		}()
	}
	if cut := all.Drain(t.Context(), 500*time.Millisecond, 1001, ""); cut != 0 {
		t.Errorf("Drain cut %d; want none", cut)
	}
	first := <-closed
	for range n - 2 {
		<-closed
	}
	if d := (<-closed).Sub(first); d < 300*time.Millisecond {
		t.Errorf("all were asked within %v; want about 400ms from the first to the last", d)
	}
}

// With one direction stuck in a write the other must not turn in circles.
func TestStuckWriteCostsNoProcessor(t *testing.T) {
	w := connect(t, setup{limits: Limits{WriteTimeout: 700 * time.Millisecond}})
	w.client.conn.SetReadBuffer(16 << 10)
	block := w.backend.frame(0x82, strings.Repeat("x", 64<<10))
	go func() {
		for {
			if _, err := w.backend.conn.Write(block); err != nil {
				return
			}
		}
	}()
	w.client.send(w.client.frame(0x88, "\x03\xe8"))
	w.backend.want(0x88, "\x03\xe8")
	before := processorTime(t)
	w.ended(t)
	if spent := processorTime(t) - before; spent > time.Second {
		t.Errorf("%v of processor time for a connection that was stuck", spent)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("connections", func(t *testing.T) {
		for i := range 20 {
			w := connect(t, setup{})
			switch i % 4 {
			case 0:
				w.client.reset()
			case 1:
				w.backend.reset()
			case 2:
				w.client.conn.Close()
			case 3:
				w.backend.send(w.backend.frame(0x88, "\x03\xe8"))
			}
		}
	})
	for start := time.Now(); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines; before there were %d\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}
