//go:build unix

package loop

import (
	"io"
	"syscall"
	"testing"
	"time"
)

// BenchmarkRelay passes 64 bytes there and back through two sockets, as a relay
// does. What it costs is the processor's time of this process, client included:
// that is steadier than the time that passes.
func BenchmarkRelay(b *testing.B) {
	l := start(b)
	x, client := sockets(b, "tcp")
	y, backend := sockets(b, "tcp")
	var ends [2]Socket
	pass := func(to *Socket) handler {
		return func(s *Socket, _ Events) {
			if n, err := s.Read(l.Scratch()); err == nil {
				to.Write(l.Scratch()[:n])
			}
		}
	}
	l.Do(func() {
		l.Add(&ends[0], x, pass(&ends[1]), Readable)
		l.Add(&ends[1], y, pass(&ends[0]), Readable)
	})
	client.SetDeadline(time.Time{})
	backend.SetDeadline(time.Time{})
	go io.Copy(backend, backend)
	buf := make([]byte, 64)
	before := processor(b)
	b.ReportAllocs()
	for b.Loop() {
		client.Write(buf)
		if _, err := io.ReadFull(client, buf); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-ns/op")
}

func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
