package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

// blackhole is an address at which dialling hangs: its queue is full, and the
// kernel drops what comes beyond.
func blackhole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*syscall.SockaddrInet4).Port)).String()
	for range 8 {
		c, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("dialling a full queue does not hang here")
	return ""
}

// Both ways of dialling are bounded, and a client that leaves ends them.
func TestDialThatHangs(t *testing.T) {
	d := newDoor(t, Upstream{URL: "ws://" + blackhole(t)}, "/")
	d.raw.Limits.DialTimeout = 200 * time.Millisecond
	d.plain.Limits.DialTimeout = 200 * time.Millisecond
	for _, request := range []string{handshakeRequest(""), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"} {
		start := time.Now()
		_, res := d.ask(request)
		wantStatus(t, res, http.StatusGatewayTimeout)
		if took := time.Since(start); took < 200*time.Millisecond || took > 5*time.Second {
			t.Errorf("%.20q was answered after %v; want 200ms and little more", request, took)
		}
	}
	if !d.seen.has("dialed timeout") {
		t.Errorf("events = %q; want dialed timeout", d.seen.events)
	}

	d.raw.Limits.DialTimeout = time.Hour
	d.raw.Backend.complained = time.Time{} // what is said from here on is heard
	p := dialPeer(t, d.addr)
	p.send([]byte(handshakeRequest("")))
	eventually(t, "the slot to be taken", func() bool { return d.limiter.Len() == 1 })
	p.conn.Close()
	eventually(t, "the slot to be released", func() bool { return d.limiter.Len() == 0 })
	if !d.seen.has("dialed canceled") {
		t.Errorf("events = %q; want dialed canceled", d.seen.events)
	}
	if s := d.log.String(); strings.Count(s, "backend cannot be reached") != 1 {
		t.Errorf("log = %s; want the first timeout, the second being within a second, and nothing of who left", s)
	}
}

// The kernel watches over a backend where no heartbeat does, and only there.
func TestBackendIsKeptAlive(t *testing.T) {
	ln := listen(t)
	b, err := NewBackend(Upstream{URL: "ws://" + ln.Addr().String()}, "/")
	if err != nil {
		t.Fatal(err)
	}
	for _, pulse := range []bool{false, true} {
		c, err := b.dialBy(t.Context(), time.Now().Add(time.Minute), pulse)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			alive, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
			if err != nil || (alive == 1) == pulse {
				t.Errorf("with a heartbeat %v: SO_KEEPALIVE = %d, %v", pulse, alive, err)
			}
		})
	}
}

// A name is looked up, and the time for it is bounded by the same deadline.
func TestDialByName(t *testing.T) {
	ln := listen(t)
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	b, err := NewBackend(Upstream{URL: "ws://localhost:" + port}, "/")
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.dialBy(t.Context(), time.Now().Add(time.Minute), true)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	for _, url := range []string{"ws://localhost:" + port, "ws://127.0.0.1:" + port} {
		if b, err = NewBackend(Upstream{URL: url}, "/"); err != nil {
			t.Fatal(err)
		}
		_, err := b.dialBy(t.Context(), time.Now().Add(-time.Second), true)
		if name, _ := outcome(err); err == nil || name != "timeout" {
			t.Errorf("dialling %s too late: %v; want a timeout", url, err)
		}
	}
}
