package resumable

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"sidecar/protocol/resume/wire"
)

// Dial opens a conversation with the backend behind rawURL: a ws, wss, http or https URL,
// exactly as a plain WebSocket client would be given it. Transports race [§11.1]; Dial
// returns with the first that gets through, and the Conn moves to a better one later.
//
// ctx bounds only the opening, as OpenTimeout does. Errors are a *Refused where the
// backend or the server said no, a *Gone, ErrUnreachable with what each transport met,
// or that of ctx. Who gets a Conn must Close or CloseNow it.
func Dial(ctx context.Context, rawURL string, o *Options) (*Conn, error) {
	c, err := newConn(rawURL, o)
	if err != nil {
		return nil, fmt.Errorf("dialing: %w", err)
	}
	go c.live()
	select {
	case <-c.opened:
		return c, nil
	case <-c.ended:
	case <-ctx.Done():
		c.mu.Lock()
		c.endLocked(context.Cause(ctx), 1001) // a WELCOME may have come just now
		c.mu.Unlock()
	}
	<-c.over
	if c.plain != nil {
		if c.o.OnTransport != nil {
			c.o.OnTransport(Plain, nil)
		}
		return c, nil
	}
	return nil, fmt.Errorf("dialing: %w", c.err)
}

// live is all of a Conn's life. Connections are of no use when the last request has ended.
func (c *Conn) live() {
	defer close(c.over)
	c.run()
	c.wg.Wait()
	c.idle()
}

func newConn(rawURL string, o *Options) (*Conn, error) {
	ws, post, err := addresses(rawURL)
	if err != nil {
		return nil, err
	}
	filled, err := o.filled()
	if err != nil {
		return nil, err
	}
	c := &Conn{
		o: filled, ws: ws, post: post, attempt: wire.NewAttempt(),
		opened: make(chan struct{}), ended: make(chan struct{}), over: make(chan struct{}),
		reads: make(chan struct{}, 1), writes: make(chan struct{}, 1),
		came: make(chan struct{}, 1), room: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		out: newOutbox(), upMost: maxWrite, in: newInbox(uint64(filled.Window), uint64(filled.MaxMessage)),
	}
	c.ackTimer = time.AfterFunc(time.Hour, c.ackNow)
	c.ackTimer.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	c.ctx, c.cancel = ctx, cancel
	c.client, c.renew, c.idle = c.requests()
	return c, nil
}

// requests is the client of streams and polls, what leaves its connections for new ones, and
// what closes them.
func (c *Conn) requests() (client *http.Client, renew func() func(), idle func()) {
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if given := c.o.HTTPClient; given != nil {
		nothing := func() {}
		return &http.Client{Transport: given.Transport, Jar: given.Jar, CheckRedirect: stay}, func() func() { return nothing }, nothing
	}
	p := &pool{}
	dial := p.own.opens(c.dialNet)
	p.fresh = func() *http.Transport {
		return &http.Transport{
			DialContext: dial, TLSClientConfig: c.o.TLS.Clone(), Proxy: c.o.Proxy, // net/http changes it
			ForceAttemptHTTP2: true, DisableCompression: true,
			IdleConnTimeout: time.Minute, TLSHandshakeTimeout: openLimit,
		}
	}
	p.renew()
	return &http.Client{Transport: p, CheckRedirect: stay}, p.renew, p.close
}
