package acme

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	signing "sidecar/test/authority"
)

// A lock is a listener before another, which holds who comes until it is opened.
type lock struct {
	net.Listener
	came, opened chan struct{}
	first        sync.Once
	held         sync.WaitGroup
}

func newLock(t testing.TB, to string) *lock {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &lock{Listener: l, came: make(chan struct{}), opened: make(chan struct{})}
	k.held.Go(func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			k.first.Do(func() { close(k.came) })
			k.held.Go(func() { k.serve(c, to) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		k.open()
		k.held.Wait()
	})
	return k
}

func (k *lock) open() {
	select {
	case <-k.opened:
	default:
		close(k.opened)
	}
}

func (k *lock) serve(c net.Conn, to string) {
	defer c.Close()
	<-k.opened
	d := &door{}
	d.lead(to)
	d.serve(c)
}

// endsAtOnce wants a handshake for the answer to a challenge to end with itself,
// whatever the client says then. It reports whether there was one.
func (s *sidecar) endsAtOnce(t testing.TB, name, says string) bool {
	t.Helper()
	conf := &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"acme-tls/1"}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", s.addr, conf)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(c, says) // it may have hung up already
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("who comes with acme-tls/1 and says %q is told %q, %v; want the end", says, b, err)
	}
	conf.NextProtos = []string{"http/1.1"}
	if again, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", s.addr, conf); err == nil {
		if again.ConnectionState().DidResume {
			t.Error("who came with acme-tls/1 has a ticket to come back by")
		}
		again.Close()
	}
	return true
}

// entry asks for a page, with these protocols by ALPN, and returns the answer.
func (s *sidecar) entry(conf *tls.Config, protocols ...string) (string, error) {
	conf = conf.Clone()
	conf.NextProtos = protocols
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", s.addr, conf)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(c, request)
	b, err := io.ReadAll(c)
	return string(b), err
}

const request = "GET / HTTP/1.1\r\nHost: a.example.test\r\nConnection: close\r\n\r\n"

// The authority shows no certificate when it looks for the answer to tls-alpn-01. It
// gets that all the same, and it alone: nobody else has a way in by the challenge's
// protocol, neither while there is a challenge nor later.
func TestChallengesAreNoWayIn(t *testing.T) {
	t.Parallel()
	const name = "a.example.test"
	for _, mode := range []string{"", "request", "require"} {
		t.Run("client_auth "+mode, func(t *testing.T) {
			t.Parallel()
			a, clients := newAuthority(t, terms{}), signing.New(t)
			more := "domains: [" + name + "], challenges: [tls-alpn-01]"
			if mode != "" {
				more += fmt.Sprintf(", client_auth: {ca: %q, mode: %s}", signing.Roots(t, clients), mode)
			}
			s := launch(t, serveEcho(t), a.settings(t.TempDir(), more)+speaking)
			validation := newLock(t, s.addr)
			a.secure.lead(validation.Addr().String())
			await(t, validation.came)
			nobody := a.trusting(name)
			for _, says := range []string{"", request, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"} {
				if !s.endsAtOnce(t, name, says) {
					t.Error("there is no answer to the challenge that is under way")
				}
				if s.endsAtOnce(t, "b.example.test", says) {
					t.Error("there is an answer for a name that is not ours")
				}
			}
			for _, protocols := range [][]string{{"acme-tls/1", "http/1.1"}, {"acme-tls/1", "acme-tls/1"}, {"http/1.1"}} {
				if answer, err := s.entry(nobody, protocols...); err == nil {
					t.Errorf("%q, before there is a certificate: let in, and told %q", protocols, answer)
				}
			}
			validation.open()
			t.Logf("ready after %v", s.ready(t, patience).Round(time.Millisecond))
			for _, says := range []string{"", request} {
				s.endsAtOnce(t, name, says)
			}
			for _, protocols := range [][]string{{"http/1.1"}, {"acme-tls/1", "http/1.1"}, nil} {
				if answer, err := s.entry(nobody, protocols...); (err == nil) == (mode == "require") {
					t.Errorf("%q, without a certificate: %q, %v", protocols, answer, err)
				}
			}
			if answer, err := s.entry(nobody, "acme-tls/1", "acme-tls/1"); answer != "" {
				t.Errorf("acme-tls/1 twice: told %q, %v", answer, err)
			}
			shown := nobody.Clone()
			shown.Certificates = []tls.Certificate{clients.Client(t, "alice")}
			if answer, err := s.entry(shown, "http/1.1"); err != nil || !strings.HasPrefix(answer, "HTTP/1.1 ") {
				t.Errorf("with a certificate: %q, %v; want an answer", answer, err)
			}
			if n := a.orders.Load(); n != 1 {
				t.Errorf("%d orders; want 1", n)
			}
		})
	}
}
