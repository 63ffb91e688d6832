package polling

import (
	"bytes"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// BenchmarkRoundTrip is a poll that is answered as soon as it is held, on one
// connection, in each way that HTTP/1 may go. The client allocates nothing, so
// allocations are the server's; CPU is of both.
func BenchmarkRoundTrip(b *testing.B) {
	for _, w := range []way{{name: "plain"}, {name: "parked", after: -1}, {name: "parked in time", after: defaultAfter}} {
		b.Run(w.name, func(b *testing.B) {
			r := newRig(b, w)
			c := r.dial()
			c.SetDeadline(time.Time{})
			ask, buf, a := []byte("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n"), make([]byte, 4096), text("4hello")
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				c.Write(ask)
				if !r.poll().Answer(a, nil) {
					b.Fatal("it cannot be answered")
				}
				if n, err := c.Read(buf); err != nil || !bytes.HasSuffix(buf[:n], a.Body) {
					b.Fatalf("%q, %v", buf[:n], err)
				}
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkParked says what a poll takes that waits, beyond its net.Conn.
func BenchmarkParked(b *testing.B) {
	for _, w := range []way{{name: "plain"}, {name: "parked", after: -1}} {
		b.Run(w.name, func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(costOfPoll(b, w), "B/poll")
			}
		})
	}
}

// A parked poll keeps no buffer, no request and no goroutine.
func TestParkedPollsAreSmall(t *testing.T) {
	if got := costOfPoll(t, way{after: -1}); got > 1024 {
		t.Errorf("a parked poll takes %.0f bytes beside its connection; want 1024 at most", got)
	}
}

// costOfPoll holds polls, and says what memory one takes beyond its connection's
// two ends.
func costOfPoll(t testing.TB, w way) float64 {
	return costOf(t, w, "/poll", func(r *rig) any { return r.poll() })
}

// costOf is costOfPoll for what a path begins.
func costOf(t testing.TB, w way, path string, begun func(*rig) any) float64 {
	const polls = 1000
	r := newRig(t, w)
	var conns []net.Conn
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	none := used()
	for range polls {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c, s)
	}
	ends := used() - none
	for _, c := range conns {
		c.Close()
	}
	runtime.KeepAlive(conns)
	conns = nil

	var waiting []any
	none = used()
	for range polls {
		c, err := net.Dial("tcp", r.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		c.Write([]byte("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"))
		waiting = append(waiting, begun(r))
	}
	r.settled(held, polls)
	all := used() - none
	for _, c := range conns {
		c.Close()
	}
	runtime.KeepAlive(waiting)
	return float64(all-ends) / polls
}

// used is what is in use of heap and stacks.
func used() int64 {
	var m runtime.MemStats
	for range 3 { // pools are emptied by the second
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// cpu is what the process has had so far, in nanoseconds.
func cpu(t testing.TB) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
