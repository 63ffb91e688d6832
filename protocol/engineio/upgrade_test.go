package engineio

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestUpgrade(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		r.back.echo = true
		c := r.polling()
		p := c.upgrading()
		p.say(probe)
		p.want(answered)
		for range 3 {
			c.wantGet("6")
		}
		p.say("5")
		p.say("4hello")
		p.want("4hello")
		c.wantFault(c.get(), 400, 3)
	})
}

// TestOpenPollIsEndedByTheProbe: it would keep the client from changing over.
func TestOpenPollIsEndedByTheProbe(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		c := r.polling()
		poll := c.begun()
		p := c.upgrading()
		p.say(probe)
		p.want(answered)
		c.wantGot(poll, "6")
		// Again: the client may have it from a proxy that waits for the body's end.
		p.say(probe)
		p.want(answered)
		c.wantGet("6")
	})
}

func TestMessagesGoByPollingUntilTheChange(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		c := r.polling()
		b := r.back.next()
		p := c.upgrading()
		poll := c.begun()
		b.say("one")
		c.wantGot(poll, "4one")
		p.say(probe)
		p.want(answered)
		b.say("two")
		for got := "6"; got == "6"; {
			if got = c.get().body; got != "6" && got != "4two" {
				t.Fatalf("poll got %q; want the message", got)
			}
		}
		c.wantPost("4up")
		b.want("up")
		b.say("three")
		e := c.engine()
		eventually(t, "the message is there", true, func() bool { return r.all.Held() > 1<<10 })
		p.say("5")
		p.want("4three")
		b.say("four")
		p.want("4four")
		if e.session.Ended() != 0 {
			t.Error("the session has ended")
		}
	})
}

// TestPollOvertakesTheChange: it comes before "5" is read, and is refused as one
// that came later.
func TestPollOvertakesTheChange(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		r.back.echo = true
		c := r.polling()
		p := c.upgrading()
		poll := c.begun()
		p.say(probe)
		p.say("5")
		p.say("4hello")
		c.wantFault(c.got(poll), 400, 3)
		p.want(answered)
		p.want("4hello")
	})
}

func TestChangeWithoutAProbe(t *testing.T) {
	r := newRig(t)
	r.back.echo = true
	c := r.polling()
	p := c.upgrading()
	p.say("5")
	p.say("4hello")
	p.want("4hello")
}

func TestSecondSocket(t *testing.T) {
	r := newRig(t)
	r.back.echo = true
	c := r.polling()
	p := c.upgrading()
	second := func() {
		t.Helper()
		c.wantTurnedAway()
	}
	second()
	p.say(probe)
	p.want(answered)
	second()
	p.say("5")
	p.say("4hello")
	p.want("4hello")
	second()
	p.say("4again")
	p.want("4again")
}

// TestFailedCandidate: whatever becomes of a WebSocket that is no transport yet, the
// client goes on polling, and may try again.
func TestFailedCandidate(t *testing.T) {
	for name, c := range map[string]struct {
		fails func(p *peer)
		code  int // 0: it broke off
	}{
		"says something else":  {func(p *peer) { p.say("4hello") }, codeNoStatus},
		"says nothing at all":  {func(p *peer) { p.say("") }, codeNoStatus},
		"is no probe":          {func(p *peer) { p.say("2prob") }, codeNoStatus},
		"sends binary":         {func(p *peer) { p.sayBinary(probe) }, codeNoStatus},
		"probes and then not":  {func(p *peer) { p.say(probe); p.want(answered); p.say("1") }, codeNoStatus},
		"closes":               {func(p *peer) { p.bye(4001) }, 4001},
		"is reset":             {func(p *peer) { p.NetConn().(*net.TCPConn).SetLinger(0); p.Close() }, 0},
		"is too large":         {func(p *peer) { p.say(strings.Repeat("2", 2<<10)) }, 1009},
		"reserves a bit":       {func(p *peer) { p.say(probe); p.NetConn().Write([]byte{0xa1, 0x80, 0, 0, 0, 0}) }, 1002},
		"reserves a bit first": {func(p *peer) { p.NetConn().Write([]byte{0xa1, 0x80, 0, 0, 0, 0}) }, 1002},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, small)
			client := r.polling()
			b := r.back.next()
			for range 2 {
				poll := client.begun()
				p := client.upgrading()
				c.fails(p)
				if c.code != 0 {
					p.wantClose(c.code)
				}
				e := client.engine()
				eventually(t, "there is a candidate", false, func() bool {
					e.mu.Lock()
					defer e.mu.Unlock()
					return e.candidate != nil
				})
				client.wantPost("4hello")
				b.want("hello")
				b.say("hello")
				if a := client.got(poll); a.body == "6" {
					client.wantGet("4hello")
				} else if a.body != "4hello" {
					t.Errorf("poll got %d %q", a.status, a.body)
				}
			}
			p := client.upgrading()
			p.say("5")
			p.say("4hello")
			b.want("hello")
		})
	}
}

func TestUpgradeTimeout(t *testing.T) {
	for _, probes := range []bool{false, true} {
		r := newRig(t, func(r *rig) { r.h.Settings.UpgradeTimeout = 50 * time.Millisecond })
		c := r.polling()
		p := c.upgrading()
		if probes {
			p.say(probe)
			p.want(answered)
		}
		p.wantClose(codeNoStatus)
		c.wantPost("4hello")
		r.back.next().want("hello")
	}
}

// TestBackendClosesWhileProbing: the client hears of it by polling, which is its
// transport.
func TestBackendClosesWhileProbing(t *testing.T) {
	inBothWays(t, func(t *testing.T, r *rig) {
		c := r.polling()
		b := r.back.next()
		p := c.upgrading()
		p.say(probe)
		p.want(answered)
		poll := c.begun()
		b.say("last")
		b.bye(4001)
		got := ""
		for a := c.got(poll); ; a = c.get() {
			if a.status != 200 {
				t.Fatalf("poll got %d %q after %q", a.status, a.body, got)
			}
			if got += strings.ReplaceAll(a.body, "6", ""); strings.HasSuffix(got, "1") {
				break
			}
		}
		if strings.ReplaceAll(got, "\x1e", "") != "4last1" {
			t.Errorf("polls got %q; want the message and the close", got)
		}
		p.wantClose(codeGoingAway)
		c.wantUnknown()
	})
}

func TestSessionEndsWhileProbing(t *testing.T) {
	r := newRig(t)
	c := r.polling()
	p := c.upgrading()
	c.wantPost("1")
	p.wantClose(codeNoStatus)
	r.back.next().wantClose(codeNoStatus)
	r.wantSessions(0)
}

func TestUpgradeOfASessionThatIsNotThere(t *testing.T) {
	r := newRig(t)
	c := r.client()
	a := c.ask("GET", sockets+"&sid=x", "", func(r *http.Request) {
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "h2c")
	})
	c.wantFault(a, 400, 1)
	c = r.polling()
	a = c.ask("GET", sockets+"&sid="+c.sid, "", func(r *http.Request) {
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "h2c")
	})
	if a.status != 400 {
		t.Errorf("an upgrade to h2c got %d; want 400", a.status)
	}
	c.wantPost("4still there")
	r.back.next().want("still there")
}

// TestPostIsOvertakenByTheChange: what it brings came by a transport that is no more,
// and would come behind what was sent later.
func TestPostIsOvertakenByTheChange(t *testing.T) {
	r := newRig(t)
	c := r.polling()
	b := r.back.next()
	post := c.slowPost()
	p := c.upgrading()
	p.say("5")
	p.say("4first")
	b.want("first")
	fmt.Fprint(post, "ll")
	res, err := http.ReadResponse(bufio.NewReader(post), nil)
	if err != nil || res.StatusCode != 400 {
		t.Errorf("the POST got %v, %v; want 400", res, err)
	}
	p.say("4second")
	b.want("second")
}
