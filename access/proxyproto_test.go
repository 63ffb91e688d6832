package access_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"

	"sidecar/access"
)

// v2 writes a version 2 header as a load balancer does.
func v2(t testing.TB, command proxyproto.ProtocolVersionAndCommand, family proxyproto.AddressFamilyAndProtocol, from, to net.Addr, tlv int) string {
	t.Helper()
	h := &proxyproto.Header{Version: 2, Command: command, TransportProtocol: family, SourceAddr: from, DestinationAddr: to}
	if tlv > 0 {
		if err := h.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_NOOP, Value: make([]byte, tlv)}}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func tcp(s string) *net.TCPAddr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// serve runs an HTTP server behind a Listener on l that says who came.
func serve(t *testing.T, l net.Listener, p access.Proxies, timeout time.Duration) net.Addr {
	t.Helper()
	srv := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := p.Client(r)
			_, _ = fmt.Fprintf(w, "%v %s %q", c.Addr, r.RemoteAddr, c.Scheme)
		}),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(access.Listener(l, p, timeout)) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serving: %v", err)
		}
	})
	return l.Addr()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// ask sends what is given and returns the whole answer, "" if there is none.
func ask(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	_, _ = io.WriteString(c, text) // the other side may have closed already
	b, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("still open after %q", b)
	}
	return string(b)
}

const get = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

func TestProxyHeaderFromTrustedPeer(t *testing.T) {
	from, to := tcp("192.0.2.9:4711"), tcp("203.0.113.1:443")
	from6, to6 := tcp("[2001:db8::9]:4711"), tcp("[2001:db8::1]:443")
	tests := []struct {
		name, header string
		want         string // a prefix; what the handler says
	}{
		{"v1", "PROXY TCP4 192.0.2.9 203.0.113.1 4711 443\r\n", "192.0.2.9 192.0.2.9:4711"},
		{"v1, IPv6", "PROXY TCP6 2001:db8::9 2001:db8::1 4711 443\r\n", "2001:db8::9 [2001:db8::9]:4711"},
		{"v1, UNKNOWN keeps the peer", "PROXY UNKNOWN\r\n", "127.0.0.1 127.0.0.1:"},
		{"v1, UNKNOWN with words", "PROXY UNKNOWN 1 2 3\r\n", "127.0.0.1 127.0.0.1:"},
		{"v2", v2(t, proxyproto.PROXY, proxyproto.TCPv4, from, to, 0), "192.0.2.9 192.0.2.9:4711"},
		{"v2, IPv6", v2(t, proxyproto.PROXY, proxyproto.TCPv6, from6, to6, 0), "2001:db8::9 [2001:db8::9]:4711"},
		{"v2, longer than the buffer", v2(t, proxyproto.PROXY, proxyproto.TCPv4, from, to, 1000), "192.0.2.9 192.0.2.9:4711"},
		{"v2, LOCAL keeps the peer", v2(t, proxyproto.LOCAL, proxyproto.UNSPEC, nil, nil, 0), "127.0.0.1 127.0.0.1:"},
		{"v2, LOCAL with addresses keeps the peer", v2(t, proxyproto.LOCAL, proxyproto.TCPv4, from, to, 0), "127.0.0.1 127.0.0.1:"},
	}
	addr := serve(t, listen(t), proxies(t, "127.0.0.1"), 0)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ask(t, dial(t, addr), tt.header+get+"\r\n"); !strings.Contains(got, "\r\n\r\n"+tt.want) {
				t.Errorf("answer %q; want %q", got, tt.want)
			}
		})
	}
}

// A header that is missing or bad closes that connection, without an answer,
// and no other.
func TestBadProxyHeaders(t *testing.T) {
	from, to := tcp("192.0.2.9:4711"), tcp("203.0.113.1:443")
	good := v2(t, proxyproto.PROXY, proxyproto.TCPv4, from, to, 0)
	unix := &net.UnixAddr{Name: "/run/x", Net: "unix"}
	udp := &net.UDPAddr{IP: from.IP, Port: from.Port}
	tests := map[string]string{
		"none":                "",
		"blank line":          "\r\n", // begins like v2
		"v1 without CR":       "PROXY TCP4 192.0.2.9 203.0.113.1 4711 443\n",
		"v1 with a name":      "PROXY TCP4 evil.example 203.0.113.1 4711 443\r\n",
		"v1, wrong family":    "PROXY TCP4 ::1 ::1 4711 443\r\n",
		"v1, bad port":        "PROXY TCP4 192.0.2.9 203.0.113.1 70000 443\r\n",
		"v1 too long":         "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n",
		"v1 in lower case":    "proxy TCP4 192.0.2.9 203.0.113.1 4711 443\r\n",
		"v2, version 3":       good[:12] + "\x31" + good[13:],
		"v2, unknown command": good[:12] + "\x22" + good[13:],
		"v2, unknown family":  good[:13] + "\x41" + good[14:],
		"v2, too short":       good[:15] + "\x04" + good[16:],
		"v2, 64 KiB":          good[:14] + "\xff\xff" + good[16:] + strings.Repeat("x", 0xffff-12),
		"v2 of a unix socket": v2(t, proxyproto.PROXY, proxyproto.UnixStream, unix, unix, 0),
		"v2 of UDP":           v2(t, proxyproto.PROXY, proxyproto.UDPv4, udp, udp, 0),
	}
	addr := serve(t, listen(t), proxies(t, "127.0.0.1"), 0)
	for name, header := range tests {
		t.Run(name, func(t *testing.T) {
			if got := ask(t, dial(t, addr), header+get+"\r\n"); got != "" {
				t.Errorf("answer %q; want none", got)
			}
			if got := ask(t, dial(t, addr), good+get+"\r\n"); !strings.Contains(got, "192.0.2.9:4711") {
				t.Errorf("the next connection's answer %q; want one", got)
			}
		})
	}
}

func TestUntrustedPeersAreServedPlainly(t *testing.T) {
	addr := serve(t, listen(t), proxies(t, "10.0.0.0/8"), 0)
	if got := ask(t, dial(t, addr), get+"\r\n"); !strings.Contains(got, "\r\n\r\n127.0.0.1 127.0.0.1:") {
		t.Errorf("answer %q; want the peer's address", got)
	}
	got := ask(t, dial(t, addr), "PROXY TCP4 10.0.0.1 203.0.113.1 1 443\r\n"+get+"\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("answer to a stranger's PROXY header %q; want 400", got)
	}
}

func TestProxyHeaderOverUnixSocket(t *testing.T) {
	const header = "PROXY TCP4 192.0.2.9 203.0.113.1 4711 443\r\n"
	for _, tt := range []struct{ list, send, want string }{
		{"unix", header, "\r\n\r\n192.0.2.9 192.0.2.9:4711"},
		{"unix", "", ""},
		{"127.0.0.1", "", "invalid IP"},
	} {
		l, err := net.Listen("unix", t.TempDir()+"/s")
		if err != nil {
			t.Fatal(err)
		}
		got := ask(t, dial(t, serve(t, l, proxies(t, tt.list), 0)), tt.send+get+"\r\n")
		if !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("trusting %s, sent %q: answer %q; want %q", tt.list, tt.send, got, tt.want)
		}
	}
}

// After a PROXY header X-Forwarded-* come from the address in it: believed if
// that is a trusted proxy, overwritten if it is a stranger.
func TestForwardedBehindProxyHeader(t *testing.T) {
	const forwarded = "X-Forwarded-For: 192.0.2.77\r\nX-Forwarded-Proto: https\r\n"
	tests := []struct{ name, header, want string }{
		{"a stranger's", "PROXY TCP4 192.0.2.9 203.0.113.1 4711 443\r\n", `192.0.2.9 192.0.2.9:4711 ""`},
		{"a trusted proxy's", "PROXY TCP4 10.0.0.5 203.0.113.1 4711 443\r\n", `192.0.2.77 10.0.0.5:4711 "https"`},
		{"the load balancer's own", "PROXY UNKNOWN\r\n", `192.0.2.77 127.0.0.1:`},
	}
	addr := serve(t, listen(t), proxies(t, "127.0.0.1", "10.0.0.0/8"), 0)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ask(t, dial(t, addr), tt.header+get+forwarded+"\r\n"); !strings.Contains(got, "\r\n\r\n"+tt.want) {
				t.Errorf("answer %q; want %q", got, tt.want)
			}
		})
	}
}

// Through TLS and over the header, callers reach the socket, and no byte that
// came in one piece with the header is lost on the way.
func TestSocketStaysReachable(t *testing.T) {
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	defer certificate.Close()
	inner := access.Listener(listen(t), proxies(t, "127.0.0.1"), 0)
	l := tls.NewListener(inner, certificate.TLS)
	defer func() { _ = l.Close() }()

	client := dial(t, l.Addr())
	if _, err := io.WriteString(client, "PROXY TCP4 192.0.2.9 203.0.113.1 4711 443\r\n"); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(tls.Client(client, &tls.Config{InsecureSkipVerify: true}), "hello")
		sent <- err
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
		t.Fatalf("read %q, %v; want hello", b, err)
	}
	if err := <-sent; err != nil {
		t.Errorf("sending: %v", err)
	}
	if got, want := c.RemoteAddr().String(), "192.0.2.9:4711"; got != want {
		t.Errorf("address %s; want %s", got, want)
	}
	type wrapper interface{ NetConn() net.Conn }
	under, ok := c.(wrapper).NetConn().(wrapper)
	if !ok {
		t.Fatalf("%T under TLS has no NetConn", c.(wrapper).NetConn())
	}
	if _, ok := under.NetConn().(*net.TCPConn); !ok {
		t.Errorf("%T at the bottom; want *net.TCPConn", under.NetConn())
	}
}

// What came with the header is read in full, by small reads too, before more
// is read from the socket.
func TestBytesBehindProxyHeader(t *testing.T) {
	l := access.Listener(listen(t), proxies(t, "127.0.0.1"), 0)
	defer func() { _ = l.Close() }()
	client := dial(t, l.Addr())
	want := strings.Repeat("0123456789", 100)
	if _, err := io.WriteString(client, "PROXY TCP4 192.0.2.9 203.0.113.1 4711 443\r\n"+want); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(bufio.NewReaderSize(oneByte{c}, 16))
	if err != nil || string(got) != want {
		t.Errorf("read %q, %v; want %q", got, err, want)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Errorf("closing our half: %v", err)
	}
	if rest, err := io.ReadAll(client); err != nil || len(rest) != 0 {
		t.Errorf("the client read %q, %v; want the end", rest, err)
	}
}

// What came with the header stays the connection's own while others' headers
// are read.
func TestBytesBehindProxyHeaderAreKeptApart(t *testing.T) {
	p, l := proxies(t, "10.0.0.1"), make(pipeListener, 1)
	accepting := access.Listener(l, p, 0)
	conns := make([]net.Conn, 50)
	for i := range conns {
		l <- bytesConn{Reader: strings.NewReader(fmt.Sprintf("PROXY TCP4 192.0.2.9 203.0.113.1 %d 443\r\nI am %02d", i, i))}
		c, err := accepting.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := c.RemoteAddr().String(), fmt.Sprintf("192.0.2.9:%d", i); got != want {
			t.Errorf("address %s; want %s", got, want)
		}
		conns[i] = c
	}
	for i, c := range conns {
		got, err := io.ReadAll(c)
		if want := fmt.Sprintf("I am %02d", i); string(got) != want || err != nil {
			t.Errorf("read %q, %v; want %q", got, err, want)
		}
	}
}

type oneByte struct{ io.Reader }

func (r oneByte) Read(b []byte) (int, error) { return r.Reader.Read(b[:1]) }

// A pipeListener accepts what is sent to it.
type pipeListener chan net.Conn

func (l pipeListener) Accept() (net.Conn, error) { return <-l, nil }
func (l pipeListener) Close() error              { return nil }
func (l pipeListener) Addr() net.Addr            { return tcp("127.0.0.1:1") }

// A peerConn has an address of our choice.
type peerConn struct {
	net.Conn
	addr net.Addr
}

func (c peerConn) RemoteAddr() net.Addr { return c.addr }

// accept returns both ends of a connection from a trusted peer, without a header yet.
func accept(t *testing.T, timeout time.Duration) (server, client net.Conn) {
	t.Helper()
	l := make(pipeListener, 1)
	client, under := net.Pipe()
	l <- peerConn{under, tcp("10.0.0.1:1")}
	server, err := access.Listener(l, proxies(t, "10.0.0.1"), timeout).Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	return server, client
}

// Accept returns at once; who is silent loses the connection at the timeout,
// whatever first touches it.
func TestLateProxyHeader(t *testing.T) {
	touches := map[string]func(c net.Conn) error{
		"read":  func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err },
		"write": func(c net.Conn) error { _, err := c.Write([]byte("x")); return err },
		"address": func(c net.Conn) error {
			if got, want := c.RemoteAddr().String(), "10.0.0.1:1"; got != want {
				return fmt.Errorf("address %s; want the peer's, %s", got, want)
			}
			_, err := c.Read(make([]byte, 1))
			return err
		},
	}
	for name, touch := range touches {
		for _, tt := range []struct{ timeout, want time.Duration }{{0, 5 * time.Second}, {2 * time.Second, 2 * time.Second}} {
			t.Run(fmt.Sprint(name, tt.timeout), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					start := time.Now()
					server, client := accept(t, tt.timeout)
					if err := touch(server); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("error %v; want a deadline's", err)
					}
					if got := time.Since(start); got != tt.want {
						t.Errorf("held for %v; want %v", got, tt.want)
					}
					if _, err := client.Write([]byte("PROXY UNKNOWN\r\n")); !errors.Is(err, io.ErrClosedPipe) {
						t.Errorf("the client's next write: %v; want a closed connection", err)
					}
				})
			})
		}
	}
}

// A deadline of the owner's can shorten the header's time, not lengthen it, and
// is in force again once the header was read.
func TestDeadlinesAroundProxyHeader(t *testing.T) {
	read := func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err }
	tests := []struct {
		name   string
		header bool
		set    time.Duration // from the start; 0: none
		late   bool          // set while the header is read
		want   time.Duration
	}{
		{"shorter", false, 2 * time.Second, false, 2 * time.Second},
		{"shorter, set meanwhile", false, 2 * time.Second, true, 2 * time.Second},
		{"longer", false, 9 * time.Second, false, 5 * time.Second},
		{"longer, set meanwhile", false, 9 * time.Second, true, 5 * time.Second},
		{"after the header", true, 9 * time.Second, false, 9 * time.Second},
		{"after the header, set meanwhile", true, 9 * time.Second, true, 9 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				server, client := accept(t, 0)
				set := func() {
					if err := server.SetReadDeadline(start.Add(tt.set)); err != nil {
						t.Errorf("setting a deadline: %v", err)
					}
				}
				if !tt.late {
					set()
				}
				go func() {
					time.Sleep(time.Second)
					if tt.late {
						set()
					}
					if tt.header {
						_, _ = io.WriteString(client, "PROXY TCP4 192.0.2.9 203.0.113.1 4711 443\r\n")
					}
				}()
				if err := read(server); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("error %v; want a deadline's", err)
				}
				if got := time.Since(start); got != tt.want {
					t.Errorf("held for %v; want %v", got, tt.want)
				}
			})
		})
	}
}

// Without a deadline of the owner's none is left after the header.
func TestNoDeadlineIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := accept(t, 0)
		go func() {
			_, _ = io.WriteString(client, "PROXY TCP4 192.0.2.9 203.0.113.1 4711 443\r\n")
			time.Sleep(time.Hour)
			_, _ = io.WriteString(client, "x")
		}()
		b := make([]byte, 1)
		if n, err := server.Read(b); n != 1 || err != nil {
			t.Errorf("read %d, %v after an hour; want a byte", n, err)
		}
	})
}

// A silent connection does not keep others from being served.
func TestSilentPeerHoldsNobodyUp(t *testing.T) {
	addr := serve(t, listen(t), proxies(t, "127.0.0.1"), time.Hour)
	for range 20 {
		dial(t, addr)
	}
	if got := ask(t, dial(t, addr), "PROXY TCP4 192.0.2.9 203.0.113.1 4711 443\r\n"+get+"\r\n"); !strings.Contains(got, "192.0.2.9") {
		t.Errorf("answer %q; want one", got)
	}
}

// A bytesConn is a connection that has sent all it will.
type bytesConn struct {
	net.Conn
	io.Reader
}

func (c bytesConn) Read(b []byte) (int, error)      { return c.Reader.Read(b) }
func (c bytesConn) Close() error                    { return nil }
func (c bytesConn) RemoteAddr() net.Addr            { return tcp("10.0.0.1:1") }
func (c bytesConn) SetReadDeadline(time.Time) error { return nil }

// A connection that waits after its header holds an address and no buffer.
func TestIdleConnectionKeepsNoBuffer(t *testing.T) {
	const n, most = 2000, 400 // bytes a connection, about 270 expected; a buffer would add 256 and more, a kept request 200
	request := strings.Repeat("x", 200)
	sent := "PROXY TCP4 192.0.2.9 203.0.113.1 4711 443\r\n" + request
	p, l, b := proxies(t, "10.0.0.1"), make(pipeListener, 1), make([]byte, 300)
	accepting := access.Listener(l, p, 0)
	conns := make([]net.Conn, n)
	before := heap()
	for i := range conns {
		l <- bytesConn{Reader: strings.NewReader(sent)}
		c, err := accepting.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Read(b); got != len(request) || err != nil {
			t.Fatalf("read %d, %v; want %d", got, err, len(request))
		}
		conns[i] = c
	}
	if got := (heap() - before) / n; got > most {
		t.Errorf("%d bytes a connection; want at most %d", got, most)
	}
	runtime.KeepAlive(conns)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// FuzzProxyHeader: any bytes give an error or a true address, and what follows
// the header is a tail of what was sent.
func FuzzProxyHeader(f *testing.F) {
	from, to := tcp("192.0.2.9:4711"), tcp("203.0.113.1:443")
	f.Add([]byte("PROXY TCP4 192.0.2.9 203.0.113.1 4711 443\r\nGET /"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(v2(f, proxyproto.PROXY, proxyproto.TCPv4, from, to, 30) + "GET /"))
	f.Add([]byte(v2(f, proxyproto.LOCAL, proxyproto.UNSPEC, nil, nil, 0)))
	p := proxies(f, "10.0.0.1")
	f.Fuzz(func(t *testing.T, sent []byte) {
		l := make(pipeListener, 1)
		l <- bytesConn{Reader: bytes.NewReader(sent)}
		c, err := access.Listener(l, p, 0).Accept()
		if err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(c)
		if _, parseErr := netip.ParseAddrPort(c.RemoteAddr().String()); parseErr != nil {
			t.Errorf("address %q: %v", c.RemoteAddr(), parseErr)
		}
		if err != nil && c.RemoteAddr().String() != "10.0.0.1:1" {
			t.Errorf("address %s of a bad header", c.RemoteAddr())
		}
		if err == nil && (len(rest) >= len(sent) || !bytes.HasSuffix(sent, rest)) {
			t.Errorf("%q behind the header of %q", rest, sent)
		}
	})
}
