package proxy

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sidecar/heartbeat"
	"sidecar/loop"
)

const testKey = "dGhlIHNhbXBsZSBub25jZQ=="

// A peer is one end of a relayed connection in the hands of a test: real
// sockets, and frames made by hand.
type peer struct {
	t      *testing.T
	conn   *link
	r      *bufio.Reader
	masked bool // what it sends
}

// A wire is a whole relayed connection: a client, a Raw behind a real server,
// and a backend.
type wire struct {
	client, backend *peer
	live            *Live
	log             *syncBuffer
	seen            *witness
}

// A setup is what a test wants to be otherwise.
type setup struct {
	beat       heartbeat.Policy
	limits     Limits
	extensions string // offered and accepted
	live       *Live  // shared with others; nil: its own
	loops      *loop.Group
	records    bool // TLS is in the test's hands
}

// connect opens one connection through a Raw with the relay under test.
func connect(t *testing.T, s setup) *wire {
	t.Helper()
	return newVenue(t, s).connect(t)
}

func handshakeRequest(header string) string {
	return "GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + testKey + "\r\n" + header + "\r\n"
}

func handshakeAnswer(header string) string {
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + acceptFor(testKey) + "\r\n" + header + "\r\n"
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func acceptPeer(t *testing.T, ln net.Listener, header string, byRecords bool) *peer {
	c, err := ln.Accept()
	if err != nil {
		return nil
	}
	p := newPeer(t, c, false)
	switch {
	case overWSS && byRecords:
		p.secure(serverRecords(t, p.conn.TCPConn))
	case overWSS:
		p.secure(tls.Server(p.conn.TCPConn, &tls.Config{Certificates: []tls.Certificate{testCertificate()}}))
	}
	p.head()
	p.send([]byte(handshakeAnswer(header)))
	return p
}

func dialPeer(t *testing.T, addr string) *peer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, c, true)
}

func newPeer(t *testing.T, c net.Conn, masked bool) *peer {
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second)) // a test that waits longer has failed
	return &peer{t: t, conn: &link{TCPConn: c.(*net.TCPConn)}, r: bufio.NewReader(c), masked: masked}
}

// head reads up to the empty line.
func (p *peer) head() string {
	var b strings.Builder
	for {
		line, err := p.r.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String()
		}
	}
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Errorf("sending %d bytes: %v", len(b), err)
	}
}

// frame makes a frame as this peer would.
func (p *peer) frame(first byte, payload string) []byte { return rawFrame(first, payload, p.masked) }

// rawFrame makes a frame with the first byte (FIN, reserved bits, opcode) given.
func rawFrame(first byte, payload string, masked bool) []byte {
	f := []byte{first}
	var mask byte
	if masked {
		mask = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		f = append(f, mask|byte(n))
	case n < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, mask|126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, mask|127), uint64(n))
	}
	if !masked {
		return append(f, payload...)
	}
	var key [4]byte
	rand.Read(key[:])
	f = append(f, key[:]...)
	for i := range len(payload) {
		f = append(f, payload[i]^key[i%4])
	}
	return f
}

// A got is a frame that a peer received.
type got struct {
	first   byte
	masked  bool
	payload string
	raw     []byte
}

// next reads one frame.
func (p *peer) next() (got, error) {
	h := make([]byte, 2, maxHeader)
	if _, err := io.ReadFull(p.r, h); err != nil {
		return got{}, err
	}
	h = h[:headerSize(h)]
	if _, err := io.ReadFull(p.r, h[2:]); err != nil {
		return got{}, err
	}
	body := make([]byte, payloadSize(h))
	if _, err := io.ReadFull(p.r, body); err != nil {
		return got{}, err
	}
	raw := append(bytes.Clone(h), body...)
	g := got{first: h[0], masked: h[1]&0x80 != 0, raw: raw}
	if g.masked {
		for i := range body {
			body[i] ^= h[len(h)-4+i%4]
		}
	}
	g.payload = string(body)
	return g, nil
}

// want reads a frame and compares it.
func (p *peer) want(first byte, payload string) {
	p.t.Helper()
	g, err := p.next()
	if err != nil {
		p.t.Fatalf("reading a frame: %v; want %#x %.40q", err, first, payload)
	}
	if g.first != first || g.payload != payload || g.masked == p.masked {
		p.t.Fatalf("frame = %#x %.40q (masked %v); want %#x %.40q", g.first, g.payload, g.masked, first, payload)
	}
}

// wantClose reads a close frame with the code, past at most a few other frames,
// and then the end of the connection, which must not be a reset.
func (p *peer) wantClose(code int) {
	p.t.Helper()
	for range 1000 {
		g, err := p.next()
		if err != nil {
			p.t.Fatalf("reading a frame: %v; want close %d", err, code)
		}
		if g.first != 0x80|opClose {
			continue
		}
		if c, reason, ok := parseClose([]byte(g.payload)); !ok || c != code {
			p.t.Fatalf("close = %d %q; want %d", c, reason, code)
		}
		return
	}
	p.t.Fatalf("no close frame in 1000; want close %d", code)
}

// wantEnd reads to the end of the connection, which must not be a reset.
func (p *peer) wantEnd() {
	p.t.Helper()
	if _, err := io.Copy(io.Discard, p.r); err != nil {
		p.t.Errorf("connection ended by %v; want an orderly end", err)
	}
}

// reset ends the connection as a crash would.
func (p *peer) reset() {
	p.conn.SetLinger(0)
	p.conn.TCPConn.Close()
}

// gone waits until the relay has ended, and ends it if a test left it open.
func (w *wire) gone(t *testing.T) {
	w.client.conn.Close()
	w.backend.conn.Close()
	deadline := time.After(20 * time.Second)
	for w.live.Len() > 0 {
		select {
		case <-deadline:
			t.Fatal("relay did not end with both its connections closed")
		case <-time.After(time.Millisecond):
		}
	}
}

// ended waits for the log line of the connection's end.
func (w *wire) ended(t *testing.T) string {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if s := w.log.String(); strings.Contains(s, "connection ended") {
			return s
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("no log line for the end of the connection")
	return ""
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Reset()
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A witness is an Observer that keeps what it is told.
type witness struct {
	mu       sync.Mutex
	events   []string
	bytes    [2]int
	messages [2]int
}

func (w *witness) note(format string, a ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf(format, a...))
}
func (w *witness) Refused(reason string)                  { w.note("refused %s", reason) }
func (w *witness) Dialed(outcome string, _ time.Duration) { w.note("dialed %s", outcome) }
func (w *witness) Opened()                                { w.note("opened") }
func (w *witness) Closed(cause string, _ time.Duration)   { w.note("closed %s", cause) }
func (w *witness) Answered(hop string, rtt time.Duration) { w.note("answered %s", hop) }
func (w *witness) Relayed(up bool, bytes int, messages int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := client
	if !up {
		i = backend
	}
	w.bytes[i] += bytes
	w.messages[i] += messages
}

func (w *witness) has(event string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e == event {
			return true
		}
	}
	return false
}

// processorTime is what this process has used of the processors.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
