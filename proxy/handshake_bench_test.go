package proxy

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"sidecar/access"
	"sidecar/heartbeat"
	"sidecar/loop"
)

// BenchmarkHandshake is connect, handshake, one echo and close. What "direct"
// costs is the benchmark's own part.
func BenchmarkHandshake(b *testing.B) {
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Close()
	go answerHandshakes(backend)
	b.Run("direct", func(b *testing.B) { benchmarkHandshake(b, backend.Addr().String()) })

	target, err := NewBackend(Upstream{URL: "ws://" + backend.Addr().String()}, "/")
	if err != nil {
		b.Fatal(err)
	}
	group, _ := loop.StartGroup() // nil where there are none
	defer group.Stop()
	raw := &Raw{
		Backend: target, Live: &Live{}, Loops: group, Heartbeat: heartbeat.Default(),
		Guard: &access.Guard{Limiters: []*access.Limiter{access.NewLimiter(access.Limits{Connections: 1000})}},
		Log:   slog.New(slog.DiscardHandler),
	}
	front := &http.Server{Handler: raw, ReadHeaderTimeout: time.Second}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer front.Close()
	go front.Serve(ln)
	b.Run("relayed", func(b *testing.B) { benchmarkHandshake(b, ln.Addr().String()) })
}

func benchmarkHandshake(b *testing.B, addr string) {
	b.ReportAllocs()
	request := []byte(handshakeRequest(""))
	echo := rawFrame(0x82, "hello", true)
	buf := make([]byte, 4096)
	for b.Loop() {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		c.Write(request)
		if n, err := readHead(c, buf); err != nil || !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 101 ")) {
			b.Fatalf("answer %q, %v; want 101", buf[:n], err)
		}
		c.Write(echo)
		if _, err := io.ReadFull(c, buf[:len(echo)-4]); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

// readHead reads until an empty line: neither side sends more than it at first.
func readHead(c net.Conn, buf []byte) (n int, err error) {
	for !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) && err == nil {
		var more int
		more, err = c.Read(buf[n:])
		n += more
	}
	return n, err
}

// answerHandshakes says yes to everybody, and sends each's first frame back.
func answerHandshakes(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 4096)
			if _, err := readHead(c, buf); err != nil {
				return
			}
			io.WriteString(c, handshakeAnswer(""))
			n, _ := io.ReadFull(c, buf[:11])
			c.Write(append(buf[:0:0], rawFrame(0x82, string(unmask(buf[:n])), false)...))
			io.Copy(io.Discard, c)
		}()
	}
}

func unmask(frame []byte) (payload []byte) {
	for i := 6; i < len(frame); i++ {
		payload = append(payload, frame[i]^frame[2+(i-6)%4])
	}
	return payload
}
