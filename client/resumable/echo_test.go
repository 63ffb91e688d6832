package resumable

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestEchoByEachTransport(t *testing.T) {
	for _, kind := range []Transport{WebSocket, Stream, Poll} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				c := r.open(r.options(kind))
				for _, text := range []string{"", "one", "two"} {
					r.echo(c, text)
				}
				if got := c.Transport(); got != kind {
					t.Errorf("transport %q; want %q", got, kind)
				}
				r.numbered(c, 60, nil, nil)
				if err := c.Close(3001, "bye"); err != nil {
					t.Errorf("Close: %v", err)
				}
				var end *CloseError
				if _, _, err := c.Read(context.Background()); !errors.As(err, &end) || end.Code != 3001 || end.Reason != "bye" {
					t.Errorf("Read after Close: %v", err)
				}
				if err := c.Write(context.Background(), Text, nil); err == nil {
					t.Error("Write after Close: no error")
				}
			})
		})
	}
}

func TestCutUnderTraffic(t *testing.T) {
	for _, kinds := range [][]Transport{{WebSocket}, {Stream}, {Poll}, {WebSocket, Stream, Poll}} {
		t.Run(string(kinds[0]), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				c := r.open(r.options(kinds...))
				r.numbered(c, 300, []int{1, 7, 50, 51, 120, 200, 299}, func(i int) { r.cut() })
				if s := r.f.only(); s.got != 300 || s.violent != nil {
					t.Errorf("the backend got %d messages, %v; want 300", s.got, s.violent)
				}
				start := time.Now()
				if err := c.Close(1000, ""); err != nil {
					t.Errorf("Close: %v", err)
				}
				if took := time.Since(start); took > time.Second {
					t.Errorf("Close took %v", took)
				}
			})
		})
	}
}
