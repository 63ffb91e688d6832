package resumable

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// A slowed connection brings so many bytes a second.
type slowed struct {
	net.Conn
	rate int
}

func (s slowed) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p[:min(len(p), s.rate/4)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(s.rate))
	return n, err
}

// What comes by 1 kB/s takes longer than silence may last, but there is no silence.
func TestSlowPathIsNotSilent(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		o := r.options(kind)
		o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := r.dial(ctx, network, addr)
			return slowed{c, 1000}, err
		}
		var lost atomic.Int32
		o.OnTransport = func(now Transport, why error) {
			if now == None {
				lost.Add(1)
				t.Logf("lost: %v", why)
			}
		}
		c := r.open(o)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		want := bytes.Repeat([]byte("slow "), 40_000)
		if err := c.Write(ctx, Binary, want); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, got, err := c.Read(ctx)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
		}
		if took := time.Since(start); took > 5*time.Minute || lost.Load() > 0 {
			t.Errorf("took %v, lost %d times; want 200 s and little more, by one carrier", took, lost.Load())
		}
		c.CloseNow()
		time.Sleep(time.Second) // for what is on its way
	})
}
