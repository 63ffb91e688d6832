package test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"sidecar/access"
	"sidecar/proxy"
)

// A countingLog tells how many connections lived when each line was logged.
type countingLog struct {
	slog.Handler
	live  *proxy.Live
	lived chan int
}

func (c countingLog) Enabled(context.Context, slog.Level) bool { return true }

func (c countingLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "connection ended" {
		c.lived <- c.live.Len()
	}
	return nil
}

// A drain ends when nobody is left, and the program with it; so a connection
// must not leave before its line is in the log.
func TestConnectionIsLoggedBeforeItLeaves(t *testing.T) {
	t.Parallel()
	a := serveArrivals(t)
	b, err := proxy.NewBackend(proxy.Upstream{URL: "ws://" + a.addr}, "/")
	if err != nil {
		t.Fatal(err)
	}
	live := new(proxy.Live)
	l := countingLog{slog.DiscardHandler, live, make(chan int, 1)}
	s := httptest.NewServer(&proxy.Raw{Route: "/", Backend: b, Guard: new(access.Guard), Live: live, Log: slog.New(l)})
	defer s.Close()
	dial(t, "ws://"+s.Listener.Addr().String()+"/?id=1")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	live.Drain(ctx, 0, 1001, "")
	if got := <-l.lived; got != 1 {
		t.Errorf("%d connections lived when its line was logged; want 1, itself", got)
	}
}
