package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"sidecar/client/resumable"
)

const (
	sayEvery   = 10 * time.Millisecond
	largeEvery = 20     // messages: one in so many is
	large      = 66_000 // bytes, and so goes in two frames
)

// A session is a resumable one over a link of its own.
type session struct {
	*resumable.Conn
	link *link
	http *http.Transport
}

// resume opens path over l, by kinds or any.
func (t *target) resume(ctx context.Context, l *link, path string, kinds ...resumable.Transport) (*session, error) {
	s := &session{link: l, http: &http.Transport{DialContext: l.dialHTTP, DisableCompression: true}}
	c, err := resumable.Dial(ctx, t.base+path, &resumable.Options{
		Header:      http.Header{"Origin": {t.base}},
		HTTPClient:  &http.Client{Transport: s.http},
		DialContext: l.dialWebSocket,
		Proxy:       func(*http.Request) (*url.URL, error) { return nil, nil }, // as for all checks
		Transports:  kinds,
		OpenTimeout: checkIn,
		MaxBackoff:  time.Second, // a check has not the time of a person
	})
	if err != nil {
		l.close()
		return nil, err
	}
	s.Conn = c
	return s, nil
}

// end leaves nothing. After a failure there may be nobody to say goodbye to.
func (s *session) end(ok bool) {
	if !ok {
		s.link.close()
	}
	_ = s.CloseNow() // what is to be known was read
	s.link.close()
	s.http.CloseIdleConnections()
}

// A talk is numbered messages to an echo and back, for as long as a fault takes.
type talk struct {
	*session
	first resumable.Transport // that it was opened by
	said  atomic.Int64
	came  atomic.Int64
	news  chan struct{} // something came
	over  chan struct{} // closed: enough was said
}

func newTalk(s *session) *talk {
	return &talk{session: s, first: s.Transport(), news: make(chan struct{}, 1), over: make(chan struct{})}
}

// A fault happens to a talk. It returns what was seen once the talk has got over it.
type fault func(context.Context, *talk) (string, error)

// survives is the check that a session by the first of kinds gets over f, which may
// have it go over to another of them.
func survives(f fault, kinds ...resumable.Transport) func(context.Context, *target) (string, error) {
	return func(ctx context.Context, t *target) (string, error) {
		l := newLink(t.dial)
		// Else a client would prefer the WebSocket.
		l.blocks, l.hangs = kinds[0] != resumable.WebSocket, true
		s, err := t.resume(ctx, l, "/echo", kinds...)
		if err != nil {
			return "", err
		}
		ok := false
		defer func() { s.end(ok) }()
		if by := s.Transport(); by != kinds[0] {
			return "", fmt.Errorf("opened by %q; want %q", by, kinds[0])
		}
		k := newTalk(s)
		seen, err := k.during(ctx, f)
		ok = err == nil
		return fmt.Sprintf("%s; %d messages, each once", seen, k.said.Load()), err
	}
}

// during talks while f happens, and then to the end.
func (t *talk) during(ctx context.Context, f fault) (seen string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var sides sync.WaitGroup
	for _, side := range []func(context.Context) error{t.say, t.hear} {
		sides.Go(func() {
			if err := side(ctx); err != nil {
				cancel(err)
			}
		})
	}
	if seen, err = f(ctx, t); err != nil {
		cancel(err)
	}
	close(t.over)
	sides.Wait()
	return seen, context.Cause(ctx)
}

// say sends messages until the talk is over, and closes behind them.
func (t *talk) say(ctx context.Context) error {
	next := time.NewTicker(sayEvery)
	defer next.Stop()
	for n := int64(1); ; n++ {
		if err := t.Write(ctx, resumable.Binary, spoken(n)); err != nil {
			return fmt.Errorf("sending message %d: %w", n, err)
		}
		t.said.Store(n)
		select {
		case <-next.C:
		case <-t.over:
			return t.CloseWrite(1000, "")
		case <-ctx.Done():
			return nil // whoever ended it said why
		}
	}
}

// hear wants each message once and in its place, and the close behind the last.
func (t *talk) hear(ctx context.Context) error {
	for n := int64(1); ; n++ {
		_, p, err := t.Read(ctx)
		if end := (*resumable.CloseError)(nil); errors.As(err, &end) && end.Code == 1000 && t.isOver() && n > t.said.Load() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receiving message %d: %w", n, err)
		}
		if want := spoken(n); !bytes.Equal(p, want) {
			return fmt.Errorf("got %s; want %s", brief(p), brief(want))
		}
		t.came.Store(n)
		select {
		case t.news <- struct{}{}:
		default:
		}
	}
}

func (t *talk) isOver() bool {
	select {
	case <-t.over:
		return true
	default:
		return false
	}
}

// back waits until a message that is said from now on has come back. The next may be
// on its way already.
func (t *talk) back(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	for want := t.said.Load() + 2; t.came.Load() < want; {
		select {
		case <-t.news:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	return time.Since(start), nil
}

func spoken(n int64) []byte {
	p := fmt.Appendf(nil, "spoken %d", n)
	if n%largeEvery == 0 {
		p = append(p, make([]byte, large)...)
	}
	return p
}
