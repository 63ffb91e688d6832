package server

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"sidecar/test/authority"
)

// A stop says GOAWAY, and what is under way is answered.
func TestDrainSaysGoAway(t *testing.T) {
	a := newApp(t)
	s := startTLS(t, "upstream: %s\ndrain: {for: 8s}", a.ws())
	f := s.dialFrames(1 << 20)
	stream := f.ask(false, get2("/slow")...)
	<-a.entered
	s.stop()
	for !f.away {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if g, ok := frame.(*http2.GoAwayFrame); ok {
			f.away = true
			if g.ErrCode != http2.ErrCodeNo || g.LastStreamID < stream {
				t.Errorf("GOAWAY %v up to %d; want none and at least %d", g.ErrCode, g.LastStreamID, stream)
			}
		}
	}
	a.let()
	if status, _, reset := f.answer(stream); status != "200" || reset != 0 {
		t.Errorf("the request under way got %s, %v; want 200", status, reset)
	}
	if err := s.wait(patience); err != nil {
		t.Errorf("Run returned %v", err)
	}
}

// A request over HTTP/2 that does not end is counted as cut.
func TestDrainCutsHTTP2(t *testing.T) {
	a := newApp(t)
	s := startTLS(t, "upstream: %s\ndrain: {for: 500ms}", a.ws())
	f := s.dialFrames(1 << 20)
	f.ask(false, get2("/slow")...)
	<-a.entered
	s.stop()
	if err := s.wait(patience); !errors.Is(err, ErrDrain) || !strings.Contains(err.Error(), "1 requests were cut") {
		t.Errorf("Run returned %v; want one request cut", err)
	}
}

// Connections that take no more bytes must not hold up a stop, although crypto/tls
// waits 5 s for each to take its last alert.
func TestDrainIsNotHeldUpByConnectionsThatAreFull(t *testing.T) {
	a := newApp(t)
	ca := authority.New(t)
	c := parseTLS(t, ca.Files(t, certNames...), "upstream: %s\ndrain: {for: 500ms}", a.ws())
	inner, err := Environment{Stderr: io.Discard}.New(c)
	if err != nil {
		t.Fatal(err)
	}
	var full atomic.Bool
	inner.listeners[0] = clogging{inner.listeners[0], &full}
	s := &secured{running: &running{Server: inner, t: t}, ca: ca}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	for range 2 { // idle connections
		s.get(s.client(false), "/")
	}
	full.Store(true)
	begin := time.Now()
	stop()
	select {
	case <-ended:
	case <-time.After(patience):
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("the stop took %v; want half a second for the connections, and as much for the rest", took)
	}
}

// clogging is a listener whose connections take no bytes once full is set.
type clogging struct {
	net.Listener
	full *atomic.Bool
}

func (l clogging) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &clogged{Conn: c, full: l.full}, err
}

type clogged struct {
	net.Conn
	full *atomic.Bool
	by   atomic.Int64 // the write deadline
}

func (c *clogged) SetWriteDeadline(t time.Time) error {
	c.by.Store(t.UnixNano())
	return c.Conn.SetWriteDeadline(t)
}

func (c *clogged) Write(b []byte) (int, error) {
	if !c.full.Load() {
		return c.Conn.Write(b)
	}
	<-time.After(time.Until(time.Unix(0, c.by.Load())))
	return 0, os.ErrDeadlineExceeded
}
