package proxy

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
)

func TestMessagesPassBothWays(t *testing.T) {
	h, front, back := open(t, "/", nil)
	large := strings.Repeat("x", 3*frameRoom+5)
	for _, s := range []string{"hello", "", "grüße", strings.Repeat("y", 126), strings.Repeat("z", frameRoom)} {
		front.send(front.frame(0x80|opText, s))
		back.want(0x80|opText, s)
		back.send(back.frame(0x80|opBinary, s))
		front.want(0x80|opBinary, s)
	}
	front.send(front.frame(0x80|opBinary, large))
	back.send(back.frame(0x80|opText, large))
	for _, p := range []*peer{front, back} {
		if got := p.message(); got != large {
			t.Errorf("a message of %d bytes came as %d", len(large), len(got))
		}
	}
	front.send(front.frame(0x80|opClose, "\x0f\xa1bye"))
	back.wantClose(4001)
	back.send(back.frame(0x80|opClose, "\x0f\xa1"))
	h.wantGone(4001)
	front.wantClose(4001)
	front.wantEnd()
}

// message reads one data message, whatever its frames.
func (p *peer) message() string {
	p.t.Helper()
	var b strings.Builder
	for {
		g, err := p.next()
		if err != nil {
			p.t.Fatalf("reading a message: %v", err)
		}
		if g.first&0x8 != 0 {
			continue
		}
		b.WriteString(g.payload)
		if g.first&0x80 != 0 {
			return b.String()
		}
	}
}

func TestNumberedClientResumes(t *testing.T) {
	h, front, back := open(t, "/numbered", nil)
	s := <-h.opened
	front.send(front.frame(0x80|opText, "1 one"))
	back.want(0x80|opText, "one")
	front.want(0x80|opText, "ack 1")
	back.send(back.frame(0x80|opText, "a"))
	front.want(0x80|opText, "1 a")
	front.reset()
	h.wantGone(codeAbnormal)
	back.send(back.frame(0x80|opText, "b"))
	back.send(back.frame(0x80|opText, "c"))
	front = h.client(fmt.Sprintf("/numbered?last=1&resume=%s", s.ID()))
	front.want(0x80|opText, "2 b")
	front.want(0x80|opText, "3 c")
	front.send(front.frame(0x80|opText, "1 one"))
	front.want(0x80|opText, "ack 1")
	front.send(front.frame(0x80|opText, "2 two"))
	back.want(0x80|opText, "two")
	front.want(0x80|opText, "ack 2")
	back.send(back.frame(0x80|opClose, "\x0f\xa1bye"))
	front.wantClose(4001)
	back.wantClose(4001)
	back.wantEnd()
}

func TestSessionOfASecureBackend(t *testing.T) {
	d := &stageDoor{t: t, ln: listen(t), secure: true}
	h := newHall(t, d.url(), func(h *hall) { h.dialer.Backend.tls = &tls.Config{InsecureSkipVerify: true} })
	accepted := make(chan *peer, 1)
	go func() { accepted <- d.accept() }()
	front := h.client("/")
	back := <-accepted
	large := strings.Repeat("x", 3*frameRoom+5)
	for _, s := range []string{"hello", large, ""} {
		front.send(front.frame(0x80|opBinary, s))
		if got := back.message(); got != s {
			t.Errorf("a message of %d bytes came as %d", len(s), len(got))
		}
		back.send(back.frame(0x80|opText, s))
		if got := front.message(); got != s {
			t.Errorf("a message of %d bytes came as %d", len(s), len(got))
		}
	}
	back.send(back.frame(0x80|opClose, "\x0f\xa1bye"))
	front.wantClose(4001)
	back.wantClose(4001)
}
