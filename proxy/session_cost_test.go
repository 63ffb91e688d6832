package proxy

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"sidecar/heartbeat"
	"sidecar/session"
)

// echoOn has whoever comes to ln hear what they say, until the test ends.
func echoOn(tb testing.TB, ln net.Listener) {
	tb.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go echo(c)
		}
	}()
}

// echoBackend is a backend of two goroutines at most, which keeps as little as it
// can of a connection: what it costs is taken off.
func echoBackend(tb testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	echoOn(tb, ln)
	return "ws://" + ln.Addr().String()
}

// echo answers a handshake, and then each frame of up to 125 bytes with its like.
func echo(c net.Conn) {
	defer c.Close()
	b := make([]byte, 4096)
	n := 0
	for !strings.Contains(string(b[:n]), "\r\n\r\n") {
		k, err := c.Read(b[n:])
		if err != nil {
			return
		}
		n += k
	}
	_, key, _ := strings.Cut(string(b[:n]), "ocket-Key: ")
	fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", acceptFor(key[:24]))
	for n = 0; ; {
		k, err := c.Read(b[n:])
		if err != nil {
			return
		}
		n += k
		for n >= 6 && n >= 6+int(b[1]&0x7f) {
			size := int(b[1] & 0x7f)
			out := append([]byte{b[0], byte(size)}, b[6:6+size]...)
			for i := range out[2:] {
				out[2+i] ^= b[2+i%4]
			}
			copy(b, b[6+size:n])
			n -= 6 + size
			if _, err := c.Write(out); err != nil {
				return
			}
		}
	}
}

// costHall is a hall with default settings, which fails no test.
func costHall(tb testing.TB, backend string) (*hall, string) {
	b, err := NewBackend(Upstream{URL: backend}, "/")
	if err != nil {
		tb.Fatal(err)
	}
	h := &hall{settings: session.Default(), seen: &witness{}, gone: make(chan session.Close, 10000), opened: make(chan *session.Session, 10000)}
	h.dialer = &Dialer{Backend: b, Live: &h.live, Heartbeat: heartbeat.Default()}
	h.carriers = &Carriers{Live: &h.live, Heartbeat: heartbeat.Default()}
	h.front = httptest.NewServer(http.HandlerFunc(h.ServeHTTP))
	return h, strings.TrimPrefix(h.front.URL, "http://")
}

// call makes a client's connection without keeping more of it than the socket.
func call(tb testing.TB, addr string) net.Conn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	fmt.Fprint(c, strings.Replace(handshakeRequest(""), "/chat?room=1", "/", 1))
	var b [1024]byte
	n := 0
	for !strings.Contains(string(b[:n]), "\r\n\r\n") {
		k, err := c.Read(b[n:])
		if err != nil {
			tb.Fatal(err)
		}
		n += k
	}
	return c
}

func memory() (heap, stacks float64) {
	for range 3 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse), float64(m.StackInuse)
}

// BenchmarkIdleSession measures what is kept of sessions that have each passed a
// message both ways, the client's socket and the backend's with them (but neither
// peer).
func BenchmarkIdleSession(b *testing.B) {
	sessions := 2000
	for b.Loop() {
		peerHeap, peerStacks := peersCost(b, sessions)
		h, addr := costHall(b, echoBackend(b))
		heap, stacks := memory()
		var all []net.Conn
		for range sessions {
			c := call(b, addr)
			c.Write(rawFrame(0x80|opText, "hello", true))
			var got [7]byte
			if _, err := c.Read(got[:]); err != nil || string(got[2:]) != "hello" {
				b.Fatalf("got %q, %v", got, err)
			}
			all = append(all, c)
		}
		time.Sleep(100 * time.Millisecond)
		heapThen, stacksThen := memory()
		heap, stacks = (heapThen-heap)/float64(sessions)-peerHeap, (stacksThen-stacks)/float64(sessions)-peerStacks
		b.ReportMetric(heap+stacks, "B/session")
		b.ReportMetric(heap, "B/heap")
		b.ReportMetric(stacks, "B/stacks")
		b.ReportMetric(float64(runtime.NumGoroutine())/float64(sessions)-1, "goroutines/session")
		for _, c := range all {
			c.Close()
		}
		h.t = &testing.T{}
		h.empty()
		h.front.Close()
	}
}

// peersCost is what the client's and the backend's ends of n sessions cost.
func peersCost(b *testing.B, n int) (heap, stacks float64) {
	heap, stacks = memory()
	url := strings.TrimPrefix(echoBackend(b), "ws://")
	var all []net.Conn
	for range n {
		all = append(all, call(b, url))
	}
	time.Sleep(100 * time.Millisecond)
	heapThen, stacksThen := memory()
	for _, c := range all {
		c.Close()
	}
	return (heapThen - heap) / float64(n), (stacksThen - stacks) / float64(n)
}

// BenchmarkSessionEcho is a message up and its echo down: both ways through a
// session, with two peers that cost little.
func BenchmarkSessionEcho(b *testing.B) {
	h, addr := costHall(b, echoBackend(b))
	c := call(b, addr)
	f := rawFrame(0x80|opText, strings.Repeat("x", 64), true)
	var got [66]byte
	b.ReportAllocs()
	for b.Loop() {
		c.Write(f)
		for n := 0; n < len(got); {
			k, err := c.Read(got[n:])
			if err != nil {
				b.Fatal(err)
			}
			n += k
		}
	}
	c.Close()
	h.t = &testing.T{}
	h.empty()
	h.front.Close()
}

// BenchmarkSessionUp and BenchmarkSessionDown are messages of 64 bytes one way, as
// fast as they go, so that reads and writes are shared.
func BenchmarkSessionUp(b *testing.B) {
	front, back, end := bothEnds(b)
	defer end()
	torrentOf(b, front, rawFrame(0x80|opText, strings.Repeat("x", 64), true), back, 2+4+64)
}

func BenchmarkSessionDown(b *testing.B) {
	front, back, end := bothEnds(b)
	defer end()
	torrentOf(b, back, rawFrame(0x80|opText, strings.Repeat("x", 64), false), front, 2+64)
}

// bothEnds is one session's two peers.
func bothEnds(b *testing.B) (front, back net.Conn, end func()) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		var head [4096]byte
		n, _ := c.Read(head[:])
		_, key, _ := strings.Cut(string(head[:n]), "ocket-Key: ")
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", acceptFor(key[:24]))
		accepted <- c
	}()
	h, addr := costHall(b, "ws://"+ln.Addr().String())
	front = call(b, addr)
	back = <-accepted
	return front, back, func() {
		front.Close()
		back.Close()
		ln.Close()
		h.t = &testing.T{}
		h.empty()
		h.front.Close()
	}
}

// torrentOf sends b.N frames, many in a write, and waits until as many have come.
func torrentOf(b *testing.B, from net.Conn, frame []byte, to net.Conn, size int) {
	const batch = 32
	run := []byte(strings.Repeat(string(frame), batch))
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for n := b.N; n > 0; n -= batch {
			from.Write(run[:min(n, batch)*len(frame)])
		}
	}()
	got := make([]byte, 64<<10)
	for n := 0; n < b.N*size; {
		k, err := to.Read(got)
		if err != nil {
			b.Fatal(err)
		}
		n += k
	}
}
