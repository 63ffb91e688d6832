//go:build linux

package load

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

func rig(t *testing.T) *Rig {
	t.Helper()
	r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestEchoesAreCounted(t *testing.T) {
	for _, size := range []int{8, 64, 16 << 10, 100 << 10} {
		r := rig(t)
		w, err := r.Open(r.Backend(), 10, size)
		if err != nil {
			t.Fatal(err)
		}
		n, took, err := w.Echo(30 * time.Millisecond)
		if took < 30*time.Millisecond {
			t.Errorf("%d bytes: it took %v; want 30ms", size, took)
		}
		for i := 0; n == 0 && err == nil && i < 100; i++ { // a slow machine
			n, _, err = w.Echo(30 * time.Millisecond)
		}
		if err != nil || n == 0 {
			t.Errorf("%d bytes: %d echoes, %v; want some", size, n, err)
		}
	}
}

func TestPaceIsNotExceeded(t *testing.T) {
	r := rig(t)
	w, err := r.Open(r.Backend(), 50, 64)
	if err != nil {
		t.Fatal(err)
	}
	n, took, err := w.Paced(200*time.Millisecond, 500)
	if most := took.Seconds()*500 + 1; err != nil || float64(n) > most || n < 10 {
		t.Errorf("%d echoes in %v, %v; want about %.0f", n, took, err, most)
	}
	seen := map[uint64]int{}
	for _, c := range w.clients {
		seen[c.voice.seq]++
	}
	if len(seen) > 2 {
		t.Errorf("some clients had more turns than others: %v", seen)
	}
}

func TestBroadcastsReachAll(t *testing.T) {
	r := rig(t)
	w, err := r.Open(r.Backend(), 100, 64)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if d, err := w.Broadcast(64); err != nil || len(d) != 100 {
			t.Errorf("%d heard it, %v; want 100", len(d), err)
		}
	}
}

func TestTurnstile(t *testing.T) {
	r := rig(t)
	w, err := r.Turnstile(r.Backend(), 4)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n, _, err := w.Turn(30 * time.Millisecond); err != nil || n < 4 {
			t.Errorf("%d turns, %v; want 4 at least", n, err)
		}
	}
	if err := r.l.within(time.Second, "the backend's end", func() bool { return len(r.b.open) == 0 }); err != nil {
		t.Error(err)
	}
	if open := len(r.l.socks); open > 50 {
		t.Errorf("descriptors went up to %d with 4 clients at once", open)
	}
}

// through is a proxy that passes on what change makes of the n-th piece that a
// server sent to one of its clients; at nil it closes.
func through(t *testing.T, to string, change func(n int, b []byte) []byte) string {
	return overTLS(t, nil, to, change)
}

// overTLS is through, with TLS by conf towards clients unless that is nil.
func overTLS(t *testing.T, conf *tls.Config, to string, change func(n int, b []byte) []byte) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	var all sync.WaitGroup
	ended := make(chan struct{})
	t.Cleanup(func() { l.Close(); close(ended); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { <-ended; c.Close() }) // a test may have failed with clients left
			all.Go(func() { join(c, to, change) })
		}
	})
	return l.Addr().String()
}

func join(c net.Conn, to string, change func(n int, b []byte) []byte) {
	var up sync.WaitGroup
	defer up.Wait()
	defer c.Close()
	s, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer s.Close()
	up.Go(func() { io.Copy(s, c); s.Close() })
	b := make([]byte, 64<<10)
	for i := 0; ; i++ {
		n, err := s.Read(b)
		if err != nil {
			return
		}
		said := change(i, bytes.Clone(b[:n]))
		if c.Write(said); said == nil {
			return
		}
	}
}

// wrongs are what a proxy can do to the fifth piece that a client gets.
var wrongs = map[string]func([]byte) []byte{
	"flips a payload's last bit":  func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
	"flips the payload's first":   func(b []byte) []byte { b[len(b)-64] ^= 0x80; return b },
	"says it twice":               func(b []byte) []byte { return append(b, b...) },
	"drops a byte":                func(b []byte) []byte { b[1]--; return b[:len(b)-1] },
	"makes text of it":            func(b []byte) []byte { b[0] = 0x81; return b },
	"begins a fragmented message": func(b []byte) []byte { b[0] = 0x02; return b },
	"closes":                      func([]byte) []byte { return []byte{0x88, 0x02, 0x03, 0xe8} },
}

// spoil does wrong from the fifth piece on.
func spoil(wrong func([]byte) []byte) func(int, []byte) []byte {
	return func(n int, b []byte) []byte {
		if n < 5 || len(b) < 66 {
			return b
		}
		return wrong(b)
	}
}

func TestWrongEchoesAreCaught(t *testing.T) { wrongEchoesAreCaught(t, nil, nil) }
func TestWrongEchoesOverTLSAreCaught(t *testing.T) {
	s, c := pairOfTLS(t)
	wrongEchoesAreCaught(t, s, c)
}

// wrongEchoesAreCaught tests with TLS by conf, which clients trusts, unless that is nil.
func wrongEchoesAreCaught(t *testing.T, conf, clients *tls.Config) {
	honest := func(b []byte) []byte { return b }
	for name, wrong := range wrongs {
		for _, do := range []func(*Crowd) error{echoes, broadcasts} {
			r := rig(t)
			r.Secure(clients)
			w, err := r.Open(overTLS(t, conf, r.Backend(), spoil(wrong)), 3, 64)
			if err != nil {
				t.Fatalf("%s: %v while it did not yet", name, err)
			}
			if err := do(w); err == nil {
				t.Errorf("a proxy that %s was not noticed", name)
			}
			r.Close()
		}
	}
	r := rig(t)
	r.Secure(clients)
	w, err := r.Open(overTLS(t, conf, r.Backend(), spoil(honest)), 3, 64)
	if err == nil {
		err = echoes(w)
	}
	if err == nil {
		err = broadcasts(w)
	}
	if err != nil {
		t.Errorf("an honest proxy: %v", err)
	}
	r.Close()
}

func echoes(w *Crowd) error {
	_, _, err := w.Echo(50 * time.Millisecond)
	return err
}

func broadcasts(w *Crowd) error {
	for range 10 {
		if _, err := w.Broadcast(64); err != nil {
			return err
		}
	}
	return w.r.Idle(time.Millisecond) // what comes too much
}

// A message of one client must not be taken for another's.
func TestVoicesDiffer(t *testing.T) {
	a, b := newVoice(64), newVoice(64)
	a.next()
	if b.next(); a.check(b.want) == nil {
		t.Error("two clients say the same")
	}
	said := bytes.Clone(a.want)
	if a.next(); a.check(said) == nil {
		t.Error("a client says the same twice")
	}
	f, _, err := cut(bytes.Clone(a.frame), true)
	if err != nil || !bytes.Equal(f.payload, a.want) {
		t.Errorf("%q is sent, %v; want what is awaited, %q", f.payload, err, a.want)
	}
}

func TestRefusedHandshakeIsTold(t *testing.T) {
	r := rig(t)
	refuse := func(int, []byte) []byte { return []byte("HTTP/1.1 503 Service Unavailable\r\n\r\n") }
	if _, err := r.Open(through(t, r.Backend(), refuse), 1, 64); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("got %v; want the 503", err)
	}
	r.Close()
}
