package server

import (
	"fmt"
	"net/http"
	"testing"
)

func TestGate(t *testing.T) {
	g := gate{most: 40}
	hog, fair := new(streams), new(streams)
	for range 20 {
		if !g.enter(hog) {
			t.Fatal("a connection is kept out of the first half")
		}
	}
	if g.enter(hog) {
		t.Error("a connection with more than its share got into the second half")
	}
	for range fairStreams {
		if !g.enter(fair) {
			t.Error("a connection did not get its share of the second half")
		}
	}
	if g.enter(fair) {
		t.Error("a connection got more than its share of the second half")
	}
	for range 12 {
		if !g.enter(new(streams)) {
			t.Error("the second half is full too soon")
		}
	}
	if g.enter(new(streams)) {
		t.Error("the gate lets in more than its bound")
	}
	g.leave(fair)
	if n, m := g.inside.Load(), fair.inside.Load(); n != 39 || m != fairStreams-1 {
		t.Errorf("after one left %d are inside, %d of its connection; want 39 and %d", n, m, fairStreams-1)
	}
	if !g.enter(fair) || g.enter(new(streams)) {
		t.Error("who left makes no room, or too much")
	}
}

// Strangers whose answers are not taken fill as much of the gate as they can, and a
// session of somebody else goes on.
func TestStrangersOverHTTP2LeaveRoomForPolls(t *testing.T) {
	a := newApp(t)
	s := startTLSIn(t, Environment{Descriptors: 330}, parse(t, speaking+"upstream: %s", a.ws())) // 99 sockets, so 198 may enter
	p := &engineClient{t: t, base: s.url("/engine.io/"), http: s.client(true)}
	p.open("")
	const connections = 10
	for i := range connections {
		f := s.dialFrames(0) // no answer's body is taken
		for j := range 50 {
			f.ask(false, get2(fmt.Sprintf("/engine.io/?EIO=4&transport=polling&sid=stranger-%d-%d", i, j))...)
		}
	}
	eventually(t, "the strangers to fill half of the gate", func() bool { return s.waiting.inside.Load() >= 198/2 })
	for i := range 5 {
		held := p.park()
		p.post("4hello")
		if got := within(t, held); got != "200 4hello" {
			t.Fatalf("poll %d of a live session: %q; want its message", i, got)
		}
	}
	if n := s.waiting.inside.Load(); n < 198/2 {
		t.Errorf("only %d requests of strangers were waiting meanwhile", n)
	}
	if res, _ := s.get(s.client(true), "/page"); res.StatusCode != http.StatusOK {
		t.Errorf("a plain request: %d", res.StatusCode)
	}
}
