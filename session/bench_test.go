package session

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// sink is a backend that costs nothing.
type sink struct{}

func (sink) Write(Message) error { return nil }
func (sink) Close(Close)         {}
func (sink) Room()               {}

func benchSession(b *testing.B, all *Sessions) *Session {
	set := Default()
	s, err := all.Open(Opening{Settings: &set, Backend: sink{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.End(Left, bye) })
	return s
}

// Messages up, each by a call or many by one.
func BenchmarkUp(b *testing.B) {
	for _, batch := range []int{1, 16} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			var all Sessions
			s := benchSession(b, &all)
			messages := make([]Message, batch)
			for i := range messages {
				messages[i].Data = make([]byte, 64)
			}
			ctx := b.Context()
			b.ReportAllocs()
			for i := 0; i < b.N; i += batch {
				if _, err := s.Send(ctx, uint64(i)+1, messages...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Messages down: delivered, taken and acknowledged, so many at a time. The last
// has always some that are not acknowledged yet.
func BenchmarkDown(b *testing.B) {
	for _, c := range []struct{ batch, behind int }{{1, 0}, {16, 0}, {256, 0}, {16, 100}} {
		b.Run(fmt.Sprintf("batch=%d/behind=%d", c.batch, c.behind), func(b *testing.B) {
			var all Sessions
			s := benchSession(b, &all)
			r, err := s.Attach(nothing)
			if err != nil {
				b.Fatal(err)
			}
			m := Message{Data: make([]byte, 64)}
			var buf []Message
			b.ReportAllocs()
			for i := 0; i < b.N; i += c.batch {
				for range c.batch {
					s.Deliver(m)
				}
				batch, err := r.Take(buf, 1<<20)
				if err != nil {
					b.Fatal(err)
				}
				buf = batch.Messages
				if last := batch.Last(); last > uint64(c.behind) {
					s.Ack(last - uint64(c.behind))
				}
			}
		})
	}
}

// A poll: attach, take one message, acknowledge it, leave.
func BenchmarkPoll(b *testing.B) {
	var all Sessions
	s := benchSession(b, &all)
	m := Message{Data: make([]byte, 64)}
	var buf []Message
	b.ReportAllocs()
	for b.Loop() {
		s.Deliver(m)
		r, err := s.Attach(nothing)
		if err != nil {
			b.Fatal(err)
		}
		batch, _ := r.Take(buf, 1<<20)
		buf = batch.Messages
		s.Ack(batch.Last())
		r.Close()
	}
}

// Opening and ending a session, its tombstone included.
func BenchmarkOpenEnd(b *testing.B) {
	var all Sessions
	set := Default()
	b.ReportAllocs()
	for b.Loop() {
		s, err := all.Open(Opening{Settings: &set, Backend: sink{}})
		if err != nil {
			b.Fatal(err)
		}
		s.End(Left, bye)
	}
}

// The memory of one idle session, its place in the table included: with a carrier
// attached, after an exchange, and away.
func BenchmarkIdle(b *testing.B) {
	for _, state := range []string{"attached", "exchanged", "away"} {
		b.Run(state, func(b *testing.B) {
			const n = 20_000
			for b.Loop() {
				var all Sessions
				set := Default()
				set.TTL = time.Hour
				before := heap()
				held := make([]*Session, n)
				for i := range held {
					held[i] = idle(b, &all, &set, state)
				}
				b.ReportMetric(float64(heap()-before)/n, "B/session")
				for _, s := range held {
					s.End(Left, bye)
				}
			}
		})
	}
}

func idle(b *testing.B, all *Sessions, set *Settings, state string) *Session {
	s, err := all.Open(Opening{Settings: set, Backend: sink{}})
	if err != nil {
		b.Fatal(err)
	}
	if state == "away" {
		return s
	}
	r, err := s.Attach(nothing)
	if err != nil {
		b.Fatal(err)
	}
	if state == "exchanged" {
		s.Send(b.Context(), 1, Message{Data: make([]byte, 64)})
		for range 3 {
			s.Deliver(Message{Data: make([]byte, 64)})
		}
		r.Take(nil, 1<<20)
		s.Ack(3)
	}
	return s
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
