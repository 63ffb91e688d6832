package proxy

import (
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"sidecar/access"
)

// Whatever befalls connections on loops, no byte is wrong, and nothing is left.
func TestTorrentOfFrames(t *testing.T) {
	long := os.Getenv("E2E_LONG") != "" && !raceDetector // with it the long one takes too long
	for _, c := range []struct {
		name, clients, backends string
		long                    int64 // frames in the long run
		change                  func(*torrent)
	}{
		{"TCP", "tcp", "tcp", 18_000_000, func(*torrent) {}},
		{"unix", "unix", "unix", 4_000_000, func(*torrent) {}},
		{"PROXY protocol to unix", "tcp", "unix", 2_000_000, behindLoadBalancer},
		{"TLS to TCP", "tcp", "tcp", 6_000_000, securely},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newTorrent(chance(t), 40_000)
			if long {
				f.frames, f.width, f.goal = 20_000, 64, c.long
			}
			c.change(f)
			f.wantClean(t, c.clients, c.backends)
		})
	}
}

// behindLoadBalancer has clients come with a PROXY header.
func behindLoadBalancer(f *torrent) {
	f.front = func(ln net.Listener) net.Listener {
		trusted, err := access.ParseProxies([]string{"127.0.0.1"})
		if err != nil {
			panic(err)
		}
		return access.Listener(ln, trusted, 0)
	}
	f.dial = func(a net.Addr) (net.Conn, error) {
		c, err := plainDial(a)
		if err == nil {
			_, err = io.WriteString(c, "PROXY TCP4 203.0.113.7 127.0.0.1 5000 80\r\n")
		}
		return c, err
	}
}

// securely has clients come by TLS.
func securely(f *torrent) {
	f.width = min(f.width, 24) // handshakes wait for two processors that seal and open all they can
	f.front = func(ln net.Listener) net.Listener {
		return tls.NewListener(Detachable(ln), &tls.Config{Certificates: []tls.Certificate{testCertificate()}})
	}
	f.dial = func(a net.Addr) (net.Conn, error) {
		c, err := plainDial(a)
		if err != nil {
			return nil, err
		}
		socket := c.(*net.TCPConn)
		return &link{TCPConn: socket, tls: tls.Client(socket, &tls.Config{InsecureSkipVerify: true})}, nil
	}
	f.reset = func(c net.Conn) {
		if l, ok := c.(*link); ok {
			c = l.TCPConn
		}
		plainReset(c)
	}
}

func newTorrent(seed uint64, frames int64) *torrent {
	return &torrent{seed: seed, goal: frames, frames: 1500, width: 16, patience: 2 * time.Minute, dial: plainDial, reset: plainReset}
}

// wantClean runs the torrent, and looks for what it left.
func (f *torrent) wantClean(t *testing.T, clients, backends string) {
	t.Helper()
	startGroup(t).Stop() // what a process keeps from its first socket on is there now
	goroutines, files := runtime.NumGoroutine(), descriptors()
	g := startGroup(t)
	f.begin(t, clients, backends, g)
	begun := time.Now()
	f.run(t)
	took := time.Since(begun)
	g.Stop()
	for _, err := range f.errs {
		t.Errorf("seed %d: %v", f.seed, err)
	}
	for h, n := range f.harmed {
		if n == 0 {
			t.Errorf("no life of %v: it proves nothing about that", harm(h))
		}
	}
	if f.told.Load() < int64(f.width) || f.stalled.Load() == 0 {
		t.Errorf("%d ends heard of the drain, %d stalls; want one of each last connection, and some", f.told.Load(), f.stalled.Load())
	}
	eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "the descriptors to be closed", func() bool { return descriptors() <= files })
	t.Logf("seed %d: %d frames, %d MiB in %v over %d connections, harm %v, %d stalls, %d ends drained", f.seed,
		f.arrived.Load(), f.bytes.Load()>>20, took.Round(time.Millisecond), f.lives.Load(), f.harmed, f.stalled.Load(), f.told.Load())
}

// A spoiler harms what is read through it, once, after some bytes.
type spoiler struct {
	net.Conn
	after int
	how   func(b []byte, n int) int
}

func (s *spoiler) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if s.after -= n; s.after < 0 && n > 8 && s.how != nil {
		n, s.how = s.how(b, n), nil
	}
	return n, err
}

func (s *spoiler) CloseWrite() error { return s.Conn.(*net.TCPConn).CloseWrite() }

// A torrent must notice what a relay could do wrong.
func TestTorrentNoticesFaults(t *testing.T) {
	for name, how := range map[string]func(b []byte, n int) int{
		"a bit flipped":    func(b []byte, n int) int { b[n/2] ^= 4; return n },
		"a byte lost":      func(b []byte, n int) int { copy(b[n/2:n], b[n/2+1:n]); return n - 1 },
		"the end lost":     func(b []byte, n int) int { return n / 2 },
		"all lost":         func(b []byte, n int) int { return 0 },
		"a part twice":     func(b []byte, n int) int { copy(b[n/2:n], b[:n/2]); return n },
		"parts exchanged":  func(b []byte, n int) int { swap(b[:n]); return n },
		"a frame made up":  func(b []byte, n int) int { return copy(b[4:n], b) + copy(b, "\x81\x82\x00\x00") },
		"a close made up":  func(b []byte, n int) int { return copy(b, rawFrame(0x88, "\x03\xe8", true)) },
		"a close too long": func(b []byte, n int) int { return copy(b[:n], "\x88\xff\x00\x00\x00\x00\x00\x00\x00") },
	} {
		t.Run(name, func(t *testing.T) {
			f := newTorrent(rand.Uint64(), 1<<40) // only faults end it
			f.patience = 3 * time.Second          // who lacks bytes would wait for them
			f.spoil = func(c net.Conn) net.Conn {
				return &spoiler{Conn: c, after: 500, how: how}
			}
			f.reset = func(c net.Conn) {
				if s, ok := c.(*spoiler); ok {
					c = s.Conn
				}
				plainReset(c)
			}
			g := startGroup(t)
			f.begin(t, "tcp", "tcp", g)
			f.run(t)
			if len(f.errs) < 10 || !strings.Contains(f.errs[0].Error(), "backend") {
				t.Errorf("%d faults found: %v; want ten, of the backend", len(f.errs), f.errs)
			}
		})
	}
}

func swap(b []byte) {
	h := len(b) / 2
	head := string(b[:h])
	copy(b, b[h:2*h])
	copy(b[h:2*h], head)
}
