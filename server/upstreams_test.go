package server

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"sidecar/access"
)

func TestUpstreams(t *testing.T) {
	open := 0
	u := upstreams{open: func() int { return open }, most: 100}
	for _, c := range []struct {
		open, plain          int
		raw, session, enters bool
	}{
		{0, 0, true, true, true},
		{94, 0, true, true, true},
		{95, 0, true, false, true},
		{0, 95, true, false, true},
		{50, 45, true, false, true},
		{50, 49, true, false, true},
		{50, 50, false, false, false},
		{100, 0, false, false, false},
		{0, 100, false, false, false},
	} {
		open = c.open
		u.plain.Store(int64(c.plain))
		if got := u.room() == nil; got != c.raw {
			t.Errorf("%+v: room for a raw connection: %v", c, got)
		}
		if got := u.roomForSession() == nil; got != c.session {
			t.Errorf("%+v: room for a session: %v", c, got)
		}
		if got := u.enter() == nil; got != c.enters {
			t.Errorf("%+v: a plain request enters: %v", c, got)
		}
		want := c.plain
		if c.enters {
			want++
		}
		if got := int(u.plain.Load()); got != want {
			t.Errorf("%+v: %d plain requests are counted; want %d", c, got, want)
		}
	}
	var refusal *access.Refusal
	if err := u.room(); !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable || refusal.RetryAfter == 0 {
		t.Errorf("refused with %v; want 503 and a time to try again", err)
	}
}

// Sessions of clients that are on no socket, and plain requests, share what there is
// of connections to backends.
func TestSessionsAndPlainRequestsShareTheDescriptors(t *testing.T) {
	a := newApp(t)
	a.entered = make(chan struct{}, 100)
	s := start(t, Environment{Descriptors: 128 + 1 + 40}, parse(t, speaking+"limits: {connections: off}\nupstream: %s", a.ws()))
	p := s.engine("/engine.io/")
	most, sessions := s.budget.sockets, 0
	for ; sessions < most-3; sessions++ {
		p.ask("GET", "", "")
	}
	statuses := make(chan int, 4)
	slow := func() {
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := c.Get("http://" + s.addr() + "/slow")
		if err != nil {
			t.Error(err)
			statuses <- 0
			return
		}
		_ = res.Body.Close()
		statuses <- res.StatusCode
	}
	for range 3 {
		go slow()
		<-a.entered
	}
	go slow()
	if got := <-statuses; got != http.StatusServiceUnavailable {
		t.Errorf("one more plain request: %d; want 503", got)
	}
	if _, text := s.opsGet("/metrics"); !strings.Contains(text, `sidecar_requests_refused_total{reason="connections"} 1`) {
		t.Error("its refusal is not counted as for connections")
	}
	a.let()
	for range 3 {
		if got := <-statuses; got != http.StatusOK {
			t.Errorf("a plain request within the bound: %d", got)
		}
	}
	eventually(t, "room again", func() bool { return s.upstreams.taken() == sessions })
}
