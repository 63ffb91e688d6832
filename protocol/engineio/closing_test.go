package engineio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"sidecar/session"
)

func TestClientCloses(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		c := r.polling()
		b := r.back.next()
		poll := c.begun()
		c.wantPost("4last\x1e1\x1e4not this")
		c.wantGot(poll, "6")
		c.wantUnknown()
		b.want("last")
		b.wantNothingBut(codeNoStatus)
	})
}

// TestClosingPostOvertakesThePoll: the poll has the same answer, and none after it.
func TestClosingPostOvertakesThePoll(t *testing.T) {
	r := newRig(t)
	for range 3 {
		c := r.polling()
		c.wantPost("1")
		thief := r.client()
		thief.sid = c.sid
		thief.header.Set("Authorization", "Bearer other")
		thief.wantUnknown()
		c.wantFault(c.post("4late"), 400, 1)
		c.wantGet("6")
		c.wantUnknown()
	}
}

// TestClosingPostBesideThePoll: in whichever order they come, one poll has a noop.
func TestClosingPostBesideThePoll(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		for range 50 {
			c := r.polling()
			got := make(chan answer, 1)
			go func() {
				a, err := c.do(t.Context(), "GET", c.query(), "")
				if err != nil {
					t.Error(err)
				}
				got <- a
			}()
			c.wantPost("1")
			c.wantGot(got, "6")
			c.wantUnknown()
		}
	})
}

func TestLatesAreBounded(t *testing.T) {
	var l lates
	for i := range 3 * maxLate {
		l.add(fmt.Sprint(i), session.Identity{})
	}
	if got := l.all.Len(); got != maxLate {
		t.Errorf("%d are remembered; want %d", got, maxLate)
	}
	for _, c := range []struct {
		i    int
		want bool
	}{{2*maxLate - 1, false}, {2 * maxLate, true}, {2 * maxLate, false}, {3*maxLate - 1, true}} {
		if got := l.take(fmt.Sprint(c.i), session.Identity{}); got != c.want {
			t.Errorf("take(%d) = %v; want %v", c.i, got, c.want)
		}
	}
}

func TestBackendClosesWhileAPollIsOpen(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		c := r.polling()
		b := r.back.next()
		poll := c.begun()
		b.bye(4001)
		c.wantGot(poll, "1")
		r.wantSessions(0)
		c.wantUnknown()
	})
}

func TestBackendClosesBeforeAPoll(t *testing.T) {
	r := newRig(t)
	c := r.polling()
	b := r.back.next()
	b.say("one")
	b.say("two")
	b.bye(4001)
	eventually(t, "the close is known", true, func() bool {
		_, err := c.engine().session.Send(t.Context(), 0, session.Message{})
		return errors.Is(err, session.ErrClosing)
	})
	c.wantPost("4nobody hears this")
	c.wantGet("4one\x1e4two\x1e1")
	r.wantSessions(0)
	c.wantUnknown()
}

func TestBackendDies(t *testing.T) {
	r := newRig(t)
	c := r.polling()
	poll := c.begun()
	b := r.back.next()
	b.NetConn().(*net.TCPConn).SetLinger(0)
	b.Close()
	c.wantGot(poll, "1")
	c.wantUnknown()
}

func TestTextThatCannotTravel(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		for range 2 {
			c := r.polling()
			b := r.back.next()
			b.sayBinary("a\x1eb")
			c.wantRead("bYR5i")
			b.say("before")
			b.say("a\x1eb")
			b.say("behind")
			got := ""
			for !strings.HasSuffix(got, "1") {
				a := c.get()
				if a.status != 200 {
					t.Fatalf("poll got %d %q", a.status, a.body)
				}
				got += "|" + a.body
			}
			if got != "|4before\x1e1" && got != "|4before|1" {
				t.Errorf("polls got %q; want what came before, and the close", got)
			}
			c.wantUnknown()
			b.wantClose(codeUnsupported)
		}
		if n := strings.Count(r.log.String(), "U+001E"); n != 1 {
			t.Errorf("the operator was told %d times; want once: %s", n, r.log)
		}
	})
}

// TestDrain: a client is told whatever it is about.
func TestDrain(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		idle, waiting := r.polling(), r.polling()
		poll := waiting.begun()
		probing := r.polling()
		candidate := probing.upgrading()
		candidate.say(probe)
		candidate.want(answered)
		probingPoll := probing.begun()
		_, upgraded := r.upgraded()
		_, begun := r.socket()
		for range 5 {
			go drain(r.back.next())
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		drained := make(chan int, 1)
		go func() { drained <- r.live.Drain(ctx, 0, codeGoingAway, "stopping") }()
		for _, p := range []*peer{candidate, upgraded, begun} {
			p.wantClose(codeGoingAway)
		}
		waiting.wantGot(poll, "1")
		if a := probing.got(probingPoll); a.body != "1" && a.body != "6" {
			t.Errorf("a poll beside a probe got %q", a.body)
		}
		if cut := <-drained; cut != 0 {
			t.Errorf("%d connections had to be cut", cut)
		}
		idle.wantUnknown()
		c := r.client()
		c.wantFault(c.ask("GET", polls, ""), 503, 4)
		c.wantFault(c.refusedSocket(sockets), 503, 4)
	})
}

// drain reads until the end.
func drain(p *peer) {
	for {
		if _, _, err := p.ReadMessage(); err != nil {
			p.Close()
			return
		}
	}
}
