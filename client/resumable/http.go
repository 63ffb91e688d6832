package resumable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sidecar/protocol/resume/wire"
)

const (
	readSize    = 16 << 10
	maxAnswer   = 256 << 10   // bytes of a poll's or a send's answer (§3.4)
	sendHeld    = time.Second // the longest that a server holds a send (§3.5)
	muteAtLeast = 500 * time.Millisecond
	muteAlone   = 5 * time.Second        // where there is no poll to give a stream up for
	perKiB      = 250 * time.Millisecond // more for each KiB of a stream's HELLO and what goes with it
	vainTries   = 20                     // polls in a row that bring nothing within shortLife are no hurry
	sendTries   = 4                      // sends that fail in a row end the carrier
	maxPosts    = 3                      // of one request, on connections that turn out to be dead
)

func bytesReader(p []byte) io.Reader { return bytes.NewReader(p) }

// An exchange is one request and its answer.
type exchange struct {
	kind  wire.Kind
	body  []byte
	named string   // the token in it
	from  position // where the carrier stood before it
	upto  position // and behind it
	data  bool     // it took messages along
	size  int      // so many bytes of them
	use   bool     // or a USE
	hello bool     // it is the first
	made  time.Time
	had   uint64        // what had got across by then
	limit time.Duration // for the answer to begin, and then between two parts of it; 0: none
	late  *time.Timer   // which rings then; nil: there is no limit
}

// do makes the request and takes its answer frame by frame.
func (k *carrier) do(x exchange) error {
	ctx, cancel := context.WithCancelCause(k.ctx)
	defer cancel(nil)
	if x.limit > 0 {
		x.late = time.AfterFunc(x.limit, func() { cancel(errNoAnswer) })
		defer x.late.Stop()
	}
	if x.kind == wire.Stream {
		mute := k.watch(cancel, len(x.body))
		defer mute.Stop()
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GotConn:      func(i httptrace.GotConnInfo) { mute.by(i.Reused && k.c.o.HTTPClient == nil) },
			WroteRequest: func(httptrace.WroteRequestInfo) { mute.start() },
		})
		return because(ctx, k.ask(ctx, x, mute))
	}
	return because(ctx, k.ask(ctx, x, nil))
}

// because is why a request failed: that it was cancelled says less.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && err != nil && !errors.Is(err, cause) {
		return cause
	}
	return err
}

func (k *carrier) ask(ctx context.Context, x exchange, mute *watch) error {
	a, err := k.post(ctx, x)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if err := k.c.checkAnswer(a); err != nil {
		return err
	}
	k.c.meets()
	k.c.mu.Lock()
	k.multi = a.ProtoMajor >= 2
	k.c.mu.Unlock()
	var body io.Reader = a.Body
	if x.kind != wire.Stream {
		body = io.LimitReader(body, maxAnswer+1)
	}
	return k.listen(body, x, mute)
}

// post makes the request. One that gets no answer on a connection that has served before
// is made again at once: whatever is on the way ends such connections as it likes, and all
// in a request may come twice (§3.2). A poll that was welcomed sees to that itself, with a
// PING; after a GOAWAY nobody comes back at once (§9.1).
func (k *carrier) post(ctx context.Context, x exchange) (*http.Response, error) {
	most := maxPosts
	if x.kind == wire.Poll && !x.hello {
		most = 1
	}
	for tries := 1; ; tries++ {
		var old atomic.Bool
		r, err := k.c.request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GotConn: func(i httptrace.GotConnInfo) { old.Store(i.Reused) },
		}), x.kind, x.body)
		if err != nil {
			return nil, err
		}
		a, err := k.c.client.Do(r)
		if err == nil || !old.Load() || tries == most || ctx.Err() != nil || k.c.left() {
			return a, err
		}
	}
}

// checkAnswer tells a server of this protocol, or a request that failed, from anything
// else (§3.2).
func (c *Conn) checkAnswer(a *http.Response) error {
	kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	if a.StatusCode == http.StatusOK && strings.EqualFold(strings.TrimSpace(kind), wire.ContentType) {
		return nil
	}
	if s, err := strconv.Atoi(a.Header.Get("Retry-After")); err == nil && (a.StatusCode == 429 || a.StatusCode == 503) {
		c.mu.Lock()
		c.keep.patient(time.Duration(min(max(s, 0), 3600)) * time.Second)
		c.mu.Unlock()
	}
	return &statusError{a.StatusCode, a.Header.Get("Content-Type")}
}

// A statusError is an answer that is not this protocol's.
type statusError struct {
	status int
	kind   string
}

// passes says that it may be another soon: what is on the way is at its bounds, or has
// nobody behind it.
func (e *statusError) passes() bool {
	switch e.status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func (e *statusError) Error() string {
	return fmt.Sprintf("answered with status %d and content type %q: no sidecar, or none that takes it", e.status, e.kind)
}

// listen takes an answer's frames as they come.
func (k *carrier) listen(body io.Reader, x exchange, mute *watch) error {
	var split wire.Splitter
	buf := make([]byte, readSize)
	for got, began := 0, false; ; {
		n, err := body.Read(buf)
		if got += n; n > 0 && mute != nil {
			mute.Stop()
			k.alive()
		}
		if n > 0 && x.late != nil { // on a slow path the whole may take longer than silence may last
			x.late.Reset(x.limit)
		}
		for p := buf[:n]; len(p) > 0; {
			f, rest, ok, err := split.Next(p)
			if p = rest; err != nil {
				return err
			}
			if !ok {
				break
			}
			if !began && f.Type != wire.TypePad {
				if began = true; !begins(f.Type) {
					return fmt.Errorf("%w: %v begins an answer", wire.ErrOrder, f.Type)
				}
			}
			if err := k.hear(f, x.named); err != nil {
				return err
			}
		}
		switch {
		case x.kind != wire.Stream && got > maxAnswer:
			return fmt.Errorf("answer of more than %d bytes", maxAnswer)
		case err == io.EOF && (split.Held() > 0 || !began):
			return fmt.Errorf("reading the answer: %w", io.ErrUnexpectedEOF)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("reading the answer: %w", err)
		}
	}
}

// begins says what the first frame of an answer may be (§3.2).
func begins(t wire.Type) bool {
	return t == wire.TypeWelcome || t == wire.TypeRefused || t == wire.TypeGone || t == wire.TypeAck || t.Optional()
}

// A watch gives a stream up of which nothing comes (§11.1).
type watch struct {
	mu    sync.Mutex
	timer *time.Timer
	wait  time.Duration
	over  bool
	old   bool // the connection, which may be dead: it says nothing of streams
}

func (k *carrier) watch(cancel context.CancelCauseFunc, body int) *watch {
	c := k.c
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &watch{wait: max(2*c.rtt, muteAtLeast)}
	switch {
	case k.check || !slices.Contains(c.o.Transports, Poll): // a check has a limit of its own
		w.wait = muteAlone
	case c.rtt == 0:
		w.wait = time.Second
	}
	w.wait += time.Duration(body>>10) * perKiB // what was written may be on its way for long
	w.timer = time.AfterFunc(time.Hour, func() { cancel(w.why()) })
	w.timer.Stop()
	return w
}

func (w *watch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.timer.Reset(w.wait)
	}
}

func (w *watch) by(old bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.old = old
}

func (w *watch) why() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.old {
		return errNoAnswer
	}
	return errMute
}

// Stop is called when something came, and at the end.
func (w *watch) Stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.timer.Stop()
}

// runRequests is the life of a stream or a poll, with its sends beside it.
func (k *carrier) runRequests(down func() error) error {
	var sender sync.WaitGroup
	sender.Go(func() {
		if err := k.sends(); err != nil {
			k.lost(err)
		}
	})
	defer sender.Wait()
	err := down()
	k.lost(err)
	if k.stray != nil {
		k.disown()
	}
	return err
}

// disown ends a session that is none of ours: another one was first (§5.3).
func (k *carrier) disown() {
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	body := wire.Continue{Generation: k.born, Session: k.stray.Session, Token: k.stray.Token}.Append(nil)
	body = wire.Close{Number: 1, Code: 1001}.Append(wire.Ack{}.Append(body))
	r, err := k.c.request(ctx, wire.Send, body)
	if err != nil {
		return
	}
	if a, err := k.c.client.Do(r); err == nil {
		a.Body.Close()
	}
}

// stream reads one endless answer.
func (k *carrier) stream() error {
	c := k.c
	c.mu.Lock()
	body, err := c.helloLocked(k)
	c.mu.Unlock()
	if err == nil {
		err = k.do(exchange{kind: wire.Stream, body: body, named: k.token})
	}
	if err == nil {
		err = errRotated
	}
	return err
}

// poll asks again and again. A request that fails is repeated once; the second failure
// is the end of the carrier (§3.4). Behind one that failed at once an answer at once that
// brings nothing says little, since it is to a PING: where each second request fails, the
// two would go round and round.
func (k *carrier) poll() error {
	c := k.c
	c.mu.Lock()
	body, err := c.helloLocked(k)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	x := exchange{kind: wire.Poll, hello: true, body: body, named: k.token, limit: openLimit, upto: k.at}
	hasty := false // the last that failed did so at once
	for failed, dropped := 0, 0; failed < 2; {
		err = k.do(x)
		proven, soon := k.settle(x, err), time.Since(x.made) < shortLife
		vain := soon && c.nothingNew(x)
		if err == nil && (vain && !x.data && !x.use || c.droppedAll(x)) {
			dropped++
			if dropped > vainTries {
				sleep(k.ctx, random(backoff(c.o.MinBackoff, c.o.MaxBackoff, dropped-vainTries)))
			}
		} else {
			dropped = 0
		}
		switch {
		case k.ctx.Err() != nil:
			return context.Cause(k.ctx)
		case err == nil:
			if !hasty || !vain {
				failed = 0
			}
		case !proven || final(err) || c.left():
			return err
		default:
			failed++
			hasty = soon
		}
		if errors.Is(err, errNoAnswer) {
			c.wg.Go(c.renew())
		}
		select {
		case <-c.ended: // the last words go by a send
			<-k.ctx.Done()
			return context.Cause(k.ctx)
		default:
		}
		if !k.waitForUse() {
			return context.Cause(k.ctx)
		}
		x = c.pollNext(k)
	}
	return err
}

// waitForUse holds polls back that would be answered at once, since messages go by
// another carrier (§3.4). It returns false when the carrier is over.
func (k *carrier) waitForUse() bool {
	for {
		k.c.mu.Lock()
		used := k.c.used == k
		k.c.mu.Unlock()
		if used {
			return true
		}
		select {
		case <-k.chosen:
		case <-k.ctx.Done():
			return false
		}
	}
}

// final says of an error that it is the server's word and not the network's.
func final(err error) bool {
	var gone *Gone
	var no *Refused
	var f *fault
	return errors.As(err, &gone) || errors.As(err, &no) || errors.As(err, &f) || errors.Is(err, errStray) || errors.Is(err, errDropped)
}
