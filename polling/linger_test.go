package polling

import (
	"testing"
	"time"
)

func TestLinger(t *testing.T) {
	begin := time.Unix(1, 0)
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	wait := func(t *testing.T, l *Linger, waiting, ms int, want time.Duration) {
		t.Helper()
		if got := l.Wait(waiting, at(ms)); got != want {
			t.Errorf("%d waiting at %d ms: %v; want %v", waiting, ms, got, want)
		}
	}
	t.Run("a lone push", func(t *testing.T) {
		wait(t, &Linger{}, 1, 0, 0)
	})
	t.Run("a reply to one message, over and over", func(t *testing.T) {
		var l Linger
		for ms := range 500 {
			l.Sent(1, at(ms))
			wait(t, &l, 1, ms, 0)
		}
	})
	t.Run("replies to three", func(t *testing.T) {
		var l Linger
		l.Sent(3, at(0))
		wait(t, &l, 1, 1, 5*time.Millisecond)
		wait(t, &l, 2, 3, 3*time.Millisecond)
		wait(t, &l, 3, 4, 0)
		wait(t, &l, 1, 5, 0) // a push behind them
	})
	t.Run("a reply that does not come", func(t *testing.T) {
		var l Linger
		l.Sent(3, at(0))
		wait(t, &l, 1, 1, 5*time.Millisecond)
		wait(t, &l, 2, 6, 0)
		wait(t, &l, 1, 7, 0) // the third, after all
	})
	t.Run("messages of long ago", func(t *testing.T) {
		var l Linger
		l.Sent(10, at(0))
		wait(t, &l, 1, 100, 0)
	})
	t.Run("a stream of messages without replies", func(t *testing.T) {
		var l Linger
		for ms := range 1000 {
			l.Sent(1, at(ms))
		}
		wait(t, &l, 101, 1000, 0) // no more than lately are thought of
	})
	t.Run("more replies than messages", func(t *testing.T) {
		var l Linger
		l.Sent(2, at(0))
		l.Sent(1, at(60))
		wait(t, &l, 7, 61, 0)
		wait(t, &l, 1, 62, 0)
	})
}
