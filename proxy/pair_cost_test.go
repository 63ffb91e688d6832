package proxy

import (
	"testing"
	"time"
	"unsafe"

	"sidecar/heartbeat"
)

// Ten thousand idle connections are ten thousand pairs. 320 bytes are one of the
// sizes that Go allocates; the next is 352.
func TestPairIsSmall(t *testing.T) {
	if got := unsafe.Sizeof(pair{}); got > 320 {
		t.Errorf("a pair has %d bytes; want at most 320", got)
	}
}

// BenchmarkTake is what the rules cost of a small message, there and back, with
// the question when to look again that follows each.
func BenchmarkTake(b *testing.B) {
	p := newPair(time.Now(), heartbeat.Default(), DefaultLimits(), extensions{}, mark)
	p.report = &hearsay{}
	there, back := up(0x82, string(make([]byte, 64))), down(0x82, string(make([]byte, 64)))
	b.ReportAllocs()
	for b.Loop() {
		now := time.Now()
		if len(p.take(client, there, now)) != len(there) || len(p.take(backend, back, now)) != len(back) {
			b.Fatal("not passed on")
		}
		if p.due(client, now).IsZero() || p.due(backend, now).IsZero() {
			b.Fatal("nothing due")
		}
	}
}

// A ping and its answer make one small piece of garbage: the frame that goes out.
func TestPingsMakeLittleGarbage(t *testing.T) {
	b := newBench(t)
	b.wait(20 * time.Second)
	b.wantPing(b.to(client), client)
	pong := up(0x8a, string(mark[:])+"\x00\x00\x00\x01")
	if n := testing.AllocsPerRun(100, func() {
		b.ends[client].ping = true
		if out := b.tick(backend, b.now); len(out) != 14 || b.take(client, pong, b.now) != nil {
			t.Fatalf("%x went out, or the pong passed", out)
		}
	}); n > 1 {
		t.Errorf("%v allocations for a ping and its pong; want 1", n)
	}
}

// BenchmarkOpen is what a pair's making costs, in time and in bytes.
func BenchmarkOpen(b *testing.B) {
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if p := newPair(now, heartbeat.Default(), DefaultLimits(), extensions{}, mark); p.over() {
			b.Fatal("over at once")
		}
	}
}
