package engineio

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sidecar/access"
	"sidecar/session"
)

func TestSocketEcho(t *testing.T) {
	r := newRig(t)
	_, p := r.socket()
	b := r.back.next()
	for _, m := range []string{"hello", "", "grüße", "a\x1eb", strings.Repeat("x", 100_000)} {
		p.say("4" + m)
		b.want(m)
		b.say(m)
		p.want("4" + m)
		p.sayBinary(m)
		b.wantBinary(m)
		b.sayBinary(m)
		p.wantBinary(m)
	}
	p.say("bAQI") // as in a payload
	b.wantBinary("\x01\x02")
}

func TestSocketWithoutBinary(t *testing.T) {
	r := newRig(t)
	p := r.client().mustDial(sockets + "&b64=1")
	p.hear()
	b := r.back.next()
	b.sayBinary("\x01\x02\x03\x04")
	p.want("bAQIDBA==")
	b.say("text")
	p.want("4text")
	c := r.polling()
	b = r.back.next()
	p = c.mustDial(sockets + "&b64=1&sid=" + c.sid)
	p.say("5")
	b.sayBinary("\x01")
	p.want("bAQ==")
}

func TestSocketPackets(t *testing.T) {
	for _, c := range []struct {
		frame  string
		client int // the close that the client gets; 0: none
		backs  int // and the backend
	}{
		{"1", codeNoStatus, codeNoStatus},
		{"abc", codeNoStatus, codeGoingAway},
		{"9", codeNoStatus, codeGoingAway},
		{"", codeNoStatus, codeGoingAway},
		{"2", codeNoStatus, codeGoingAway},
		{"2probe", codeNoStatus, codeGoingAway},
		{"3", 0, 0},
		{"5", 0, 0},
		{"6", 0, 0},
		{"0{}", 0, 0},
	} {
		t.Run(c.frame, func(t *testing.T) {
			r := newRig(t)
			client, p := r.socket()
			b := r.back.next()
			p.say("4before")
			b.want("before")
			p.say(c.frame)
			if c.client == 0 {
				p.say("4still there")
				b.want("still there")
				return
			}
			p.wantNothingBut(c.client)
			b.wantNothingBut(c.backs)
			client.wantUnknown()
		})
	}
}

func TestSocketOfAClientThatGoes(t *testing.T) {
	for name, c := range map[string]struct {
		goes func(p *peer)
		want int
	}{
		"with its own code": {func(p *peer) { p.bye(4001) }, 4001},
		"done":              {func(p *peer) { p.bye(codeNormal) }, codeNormal},
		"without a code":    {func(p *peer) { p.WriteControl(8, nil, time.Now().Add(patience)) }, codeNoStatus},
		"reset":             {func(p *peer) { p.NetConn().(*net.TCPConn).SetLinger(0); p.Close() }, codeGoingAway},
		"too large a frame": {func(p *peer) { p.say("4" + strings.Repeat("x", 1<<10)) }, codeGoingAway},
		"breaking the rules of frames": {func(p *peer) {
			p.NetConn().Write([]byte{0x83, 0x80, 0, 0, 0, 0})
		}, codeGoingAway},
	} {
		t.Run(name, func(t *testing.T) {
			for _, way := range []func(*rig) (*client, *peer){(*rig).socket, (*rig).upgraded} {
				r := newRig(t, small)
				_, p := way(r)
				b := r.back.next()
				c.goes(p)
				b.wantNothingBut(c.want)
				r.wantSessions(0)
			}
		})
	}
}

func TestSocketFrameOfTheLargestSize(t *testing.T) {
	r := newRig(t, small)
	_, p := r.socket()
	b := r.back.next()
	most := strings.Repeat("x", 1<<10-1)
	p.say("4" + most)
	b.want(most)
	p.sayBinary(most + "x")
	b.wantBinary(most + "x")
	p.say("4" + most + "x")
	p.wantNothingBut(1009)
}

func TestSocketOfABackendThatCloses(t *testing.T) {
	for name, c := range map[string]struct {
		goes func(p *peer)
		want int
	}{
		"with its own code": {func(p *peer) { p.bye(4001) }, 4001},
		"without a code":    {func(p *peer) { p.WriteControl(8, nil, time.Now().Add(patience)) }, codeNoStatus},
		"reset":             {func(p *peer) { p.NetConn().(*net.TCPConn).SetLinger(0); p.Close() }, 1012},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			client, p := r.socket()
			b := r.back.next()
			b.say("last")
			if c.want == 1012 {
				p.want("4last") // a reset may destroy it on its way
			}
			c.goes(b)
			if c.want != 1012 {
				p.want("4last")
			}
			p.wantNothingBut(c.want)
			r.wantSessions(0)
			client.wantUnknown()
			_, err := r.all.Find(client.sid, r.h.identify(&http.Request{}))
			if gone := (*session.Gone)(nil); !errors.As(err, &gone) || gone.Reason != session.Closed {
				t.Errorf("the session is remembered as %v; want closed", err)
			}
		})
	}
}

func TestManyMessagesOnASocket(t *testing.T) {
	r := newRig(t)
	r.back.echo = true
	_, p := r.socket()
	const all = 5000
	sent := make(chan error, 1)
	go func() {
		for i := range all {
			if err := p.WriteMessage(1+i%2, []byte(fmt.Sprintf("%s%d", []string{"4", ""}[i%2], i))); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range all {
		m, binary := p.hear()
		if want := fmt.Sprintf("%s%d", []string{"4", ""}[i%2], i); m != want || binary != (i%2 == 1) {
			t.Fatalf("message %d is %q, binary %v; want %q", i, m, binary, want)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// TestSessionCannotBeStolen: whoever knows the sid of a session on a WebSocket gets
// nothing by it.
func TestSessionCannotBeStolen(t *testing.T) {
	for name, way := range map[string]func(*rig) (*client, *peer){"began there": (*rig).socket, "upgraded": (*rig).upgraded} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			c, p := way(r)
			b := r.back.next()
			c.wantTurnedAway()
			c.wantFault(c.get(), 400, 3)
			c.wantFault(c.post("4stolen"), 400, 3)
			c.wantFault(c.post("1"), 400, 3)
			p.say("4mine")
			b.want("mine")
			b.say("mine")
			p.want("4mine")
		})
	}
}

func TestOverflowingSession(t *testing.T) {
	r := newRig(t, func(r *rig) { r.h.Session.Overflow, r.h.Session.Window = "close", 4<<10 })
	c := r.polling()
	b := r.back.next()
	for range 3 {
		b.say(strings.Repeat("x", 4<<10))
	}
	b.wantClose(codeTryAgain)
	r.wantSessions(0)
	c.wantUnknown()
}

func TestRateOfHandshakesIsLimited(t *testing.T) {
	r := newRig(t, func(r *rig) { r.limiter.Set(access.Limits{PerAddress: 1}) })
	_, p := r.socket()
	c := r.client()
	c.wantFault(c.ask("GET", polls, ""), 429, 4)
	p.say("1")
	p.wantClose(codeNoStatus)
	r.wantSessions(0)
	eventually(t, "counted sessions", 0, r.limiter.Len)
	c.open()
}

func TestLogNamesSessionsPublicly(t *testing.T) {
	r := newRig(t)
	c := r.polling()
	c.wantPost("1")
	r.wantSessions(0)
	eventually(t, "the end is logged", true, func() bool { return strings.Contains(r.log.String(), session.Public(c.sid)) })
	if strings.Contains(r.log.String(), c.sid) {
		t.Errorf("the log has the sid: %s", r.log)
	}
}
