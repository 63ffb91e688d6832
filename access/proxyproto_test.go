package access_test

import (
	"bufio"
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
	"strings"
	"testing"
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

type oneByte struct{ io.Reader }

func (r oneByte) Read(b []byte) (int, error) { return r.Reader.Read(b[:1]) }
