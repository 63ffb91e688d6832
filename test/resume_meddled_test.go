package test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sidecar/client/resumable"
	"sidecar/protocol/resume/wire"
	"sidecar/test/faultlink"
)

// Requests that are meant, each of a session that goes on by HTTP.
var (
	sends  = func(k wire.Kind, _ []byte) bool { return k == wire.Send }
	polls  = func(k wire.Kind, b []byte) bool { return k == wire.Poll && !greets(b) }
	posts  = func(k wire.Kind, b []byte) bool { return sends(k, b) || polls(k, b) }
	loads  = func(k wire.Kind, b []byte) bool { return k == wire.Poll && carries(b) }
	hellos = func(_ wire.Kind, b []byte) bool { return greets(b) }
)

func greets(body []byte) bool { return len(body) > 0 && wire.Type(body[0]) == wire.TypeHello }

func carries(body []byte) bool {
	for len(body) > 0 {
		f, rest, err := wire.Split(body)
		if err != nil || f.Type == wire.TypeData {
			return err == nil
		}
		body = rest
	}
	return false
}

// some chooses each nth of those.
func some(nth int, of func(wire.Kind, []byte) bool) func(wire.Kind, []byte) bool {
	n := 0
	return func(k wire.Kind, b []byte) bool {
		if !of(k, b) {
			return false
		}
		n++
		return n%nth == 0
	}
}

// spells chooses three in a row of each six: one alone is made again by whoever makes
// requests, and its loss not felt.
func spells(of func(wire.Kind, []byte) bool) func(wire.Kind, []byte) bool {
	n := 0
	return func(k wire.Kind, b []byte) bool {
		if !of(k, b) {
			return false
		}
		n++
		return n%6 >= 3
	}
}

// banish ends a session's connections and lets no new ones come until it knows that it
// has no transport: a poll would go on without a HELLO otherwise.
func (j *journey) banish(t *testing.T, way *faultlink.Link, how faultlink.Ending) {
	t.Helper()
	j.road.lead(nowhere)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for start := time.Now(); j.client.Transport() != resumable.None; <-tick.C {
		way.End(faultlink.Both, how) // again: one may have been on its way to the link
		if time.Since(start) > patience {
			t.Fatalf("the client goes on by %q", j.client.Transport())
		}
	}
	j.road.lead(way.Addr())
}

// What becomes of requests on the way.
var meddlings = []struct {
	name  string
	which func(wire.Kind, []byte) bool
	deed  deed
	cut   bool // connections, so that there are HELLOs
	// streams have such requests
	streams bool
	sends   bool // they are sends; of a client that has none, its polls are meant
}{
	{"lost POST", sends, loseRequest, false, true, true},
	{"POSTs lost in a row", sends, loseRequest, false, true, true},
	{"lost POST answer", sends, loseAnswer, false, true, true},
	{"lost poll answer", polls, loseAnswer, false, false, false},
	{"truncated POST answer", sends, truncate, false, true, true},
	{"truncated poll answer", polls, truncate, false, false, false},
	{"doubled POST", posts, double, false, true, false},
	{"POST doubled late", posts, doubleLate, false, true, false},
	{"overtaking POSTs", posts, delay, false, true, false},
	{"lost HELLO", hellos, loseRequest, true, true, false},
	{"lost WELCOME", hellos, loseAnswer, true, true, false},
	{"doubled HELLO", hellos, double, true, true, false},
}

// Requests and answers that are lost, cut, doubled and overtaken.
func TestResumeMeddledRequests(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind) {
		if k.name == "websocket" {
			t.Skip("it makes no requests")
		}
		rounds := 8
		if !isLong() {
			if rounds = 4; k.name == "race" {
				t.Skip("it goes by a stream here, and has longer in a long run")
			}
		}
		for _, c := range meddlings {
			if k.name != "poll" && !k.alone && !c.streams {
				continue // a stream has none
			}
			if k.alone && c.sends {
				c.which = polls
			}
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, "")
				m := meddle(t, r.addr)
				m.upgrade = refuse
				way := newLink(t, m.addr)
				j := r.roam(t, "s", way.Addr(), k)
				j.exchange(t, 5, 500)
				nth := 3
				if c.cut {
					nth = 2
				}
				if l, ok := j.client.resumer.(*loner); ok && c.name == "overtaking POSTs" {
					l.be(true) // else there is one POST with messages at a time
					c.which, nth = loads, 2
				}
				which := some(nth, c.which)
				if strings.HasSuffix(c.name, "in a row") {
					which = spells(c.which)
				}
				m.do(which, c.deed)
				var longest time.Duration
				for i := range rounds {
					if c.cut {
						j.banish(t, way, faultlink.Ending(1+i%2))
					}
					longest = max(longest, j.exchange(t, 10, 500))
				}
				meant := m.often()
				m.do(nil, nil)
				j.finish(t)
				r.wantClean(t)
				if meant == 0 {
					t.Errorf("nothing was done; moves %v", j.client.changes())
				}
				if longest > 3*time.Second+slack {
					t.Errorf("an exchange took %v", longest)
				}
				t.Logf("%s, %s: %d times, the longest exchange took %v", k.name, c.name, meant, longest)
			})
		}
	})
}

// A HELLO that opens and comes twice, or whose answer is lost in a race, opens one
// connection to the backend.
func TestResumeOpeningOnce(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind) {
		if k.name == "websocket" {
			t.Skip("it makes no requests")
		}
		r := newRig(t, "")
		m := meddle(t, r.addr)
		m.upgrade = refuse
		how := double
		if k.name != "poll" && !k.alone {
			how = doubleBefore // or the twin, if it comes second, has the stream
		}
		m.do(hellos, how)
		j := r.roam(t, "s", m.addr, k)
		j.exchange(t, 10, 500)
		if m.often() == 0 {
			t.Error("no HELLO was doubled")
		}
		m.do(nil, nil)
		select {
		case <-r.arrivals.of("s"):
			t.Error("the backend has two connections")
		default:
		}
		j.finish(t)
		r.wantClean(t)
	})
}

// Where WebSockets are blocked a session opens by HTTP, as soon as the protocol says,
// and stays there; nothing is lost where they are killed in the midst of traffic.
func TestResumeWebSocketBlocked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		how    func(m *meddler) http.HandlerFunc
		within time.Duration // opened
	}{
		{"refused", func(*meddler) http.HandlerFunc { return refuse }, 0},
		{"hanging", func(*meddler) http.HandlerFunc { return hang }, 500 * time.Millisecond},
		{"killed at once", func(m *meddler) http.HandlerFunc { return m.kill(0) }, 0},
		{"killed soon", func(m *meddler) http.HandlerFunc { return m.kill(200 * time.Millisecond) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "")
			m := meddle(t, r.addr)
			m.upgrade = c.how(m)
			start := time.Now()
			j := r.roam(t, "s", m.addr, kinds[3])
			opened := time.Since(start)
			if opened > c.within+slack {
				t.Errorf("opened after %v; want at most %v", opened, c.within+slack)
			}
			for time.Since(start) < 1500*time.Millisecond {
				j.exchange(t, 20, 1000)
			}
			if got := j.client.Transport(); got != resumable.Stream {
				t.Errorf("it goes by %q; want a stream; moves %v", got, j.client.changes())
			}
			t.Logf("%s: opened after %v; moves %v", c.name, opened, j.client.changes())
			j.finish(t)
			r.wantClean(t)
		})
	}
}

// Behind nginx, whose answers are buffered unless the answer says otherwise, and which
// may be told not to listen to that.
func TestResumeBehindNginx(t *testing.T) {
	t.Parallel()
	const deaf = "\n\t\tproxy_buffering on;\n\t\tproxy_ignore_headers X-Accel-Buffering;"
	for _, c := range []struct {
		name, location string
		kind           kind
		goes           resumable.Transport
	}{
		{"websocket", nginxes[0].location, kinds[0], resumable.WebSocket},
		{"stream", nginxes[0].location, kinds[1], resumable.Stream},
		{"poll", nginxes[1].location, kinds[2], resumable.Poll},
		{"poll alone", nginxes[1].location, kinds[4], resumable.Poll},
		{"race", nginxes[1].location, kinds[3], resumable.WebSocket},
		{"race without upgrades", nginxes[2].location, kinds[3], resumable.Stream},
		{"race, streams held back", nginxes[2].location + deaf, kinds[3], resumable.Poll},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "")
			addr := startNginx(t, r.front.Addr(), c.location)
			start := time.Now()
			j := r.roam(t, "s", addr, c.kind)
			opened := time.Since(start)
			if opened > 5*time.Second {
				t.Errorf("opened after %v; want one probe's time at most", opened)
			}
			for i := range 2 { // three would count as blocked
				j.exchange(t, 30, 1000)
				r.front.End(faultlink.Both, faultlink.Ending(1+i%2)) // between nginx and the sidecar
				if took := j.exchange(t, 5, 1000); took > 3*time.Second+slack {
					t.Errorf("back after %v; moves %v", took, j.client.changes())
				}
			}
			if got := j.client.Transport(); got != c.goes {
				t.Errorf("it goes by %q; want %q; moves %v", got, c.goes, j.client.changes())
			}
			t.Logf("%s: opened after %v, by %s; moves %v", c.name, opened, j.client.Transport(), j.client.changes())
			j.exchange(t, 30, 20_000)
			j.finish(t)
			r.wantClean(t)
		})
	}
}
