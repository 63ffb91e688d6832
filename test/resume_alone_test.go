package test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"sidecar/client/resumable"
	"sidecar/protocol/resume/wire"
)

// A resumer is the client's end of a resumable session.
type resumer interface {
	Read(context.Context) (resumable.Type, []byte, error)
	Write(context.Context, resumable.Type, []byte) error
	Transport() resumable.Transport
	CheckNetwork()
	CloseWrite(code int, reason string) error
	Close(code int, reason string) error
	CloseNow() error
}

// A loner is a client that has polls and nothing beside them: what goes up goes with a
// poll, ahead of the one that is held, if need be. The Go client prefers sends, so that
// no other client of ours is so.
type loner struct {
	url    string // with the parameter of a poll
	http   *http.Client
	o      resumable.Options
	ctx    context.Context // over by CloseNow
	cancel context.CancelFunc
	done   chan struct{} // closed when all is over
	news   chan struct{} // has one when there is something to go up
	shaken chan struct{} // has one when it is not to wait

	mu         sync.Mutex
	changed    chan struct{} // closed and replaced when somebody may go on who waits
	attempt    string
	session    string
	token      string
	generation uint64
	attached   bool
	at         wire.Ack // what the server has
	rash       bool     // messages go by two polls at once, against the rules: so they may overtake each other
	went       uint64   // the last that is whole in a poll
	in         wire.Assembly
	came       []letter
	out        []letter // from message gone+1 on
	gone       uint64
	size       uint64 // of out, as windows count
	window     uint64 // the server's
	bye        *wire.Close
	ping       bool
	limit      time.Duration // for the next part of an answer
	err        error
}

// A letter is a message.
type letter struct {
	kind resumable.Type
	data []byte
}

// dialAlone opens a session by a poll.
func dialAlone(ctx context.Context, url string, o resumable.Options) (*loner, error) {
	l := &loner{
		url: "http" + strings.TrimPrefix(url, "ws") + "&sidecar=poll", o: o, attempt: wire.NewAttempt(),
		http: &http.Client{Transport: &http.Transport{DialContext: o.DialContext, DisableCompression: true}},
		done: make(chan struct{}), news: make(chan struct{}, 1), shaken: make(chan struct{}, 1), changed: make(chan struct{}),
		limit: patience,
	}
	l.o.Window, l.o.MinBackoff, l.o.MaxBackoff = or(o.Window, 256<<10), or(o.MinBackoff, 500*time.Millisecond), or(o.MaxBackoff, 20*time.Second)
	l.ctx, l.cancel = context.WithCancel(context.Background())
	go l.run()
	if err := l.wait(ctx, func() bool { return l.attached || l.err != nil }); err != nil {
		l.CloseNow()
		return nil, err
	}
	if l.Transport() == resumable.None {
		return nil, l.why()
	}
	return l, nil
}

func or[T int | time.Duration](v, other T) T {
	if v != 0 {
		return v
	}
	return other
}

// wait waits for what is true under the lock.
func (l *loner) wait(ctx context.Context, enough func() bool) error {
	for {
		l.mu.Lock()
		ok, changed := enough(), l.changed
		l.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tellLocked lets those go on who wait.
func (l *loner) tellLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *loner) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *loner) Read(ctx context.Context) (resumable.Type, []byte, error) {
	if err := l.wait(ctx, func() bool { return len(l.came) > 0 || l.err != nil }); err != nil {
		return 0, nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.came) == 0 {
		return 0, nil, l.err
	}
	m := l.came[0]
	l.came = l.came[1:]
	return m.kind, m.data, nil
}

func (l *loner) Write(ctx context.Context, t resumable.Type, p []byte) error {
	if err := l.wait(ctx, func() bool { return l.size < l.window || l.err != nil }); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.out = append(l.out, letter{t, p})
	l.size += weight(p)
	poke(l.news)
	return nil
}

// weight is what a message counts for in a window.
func weight(p []byte) uint64 { return uint64(len(p)) + wire.Overhead }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (l *loner) Transport() resumable.Transport {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.attached {
		return resumable.Poll
	}
	return resumable.None
}

func (l *loner) CheckNetwork() { poke(l.shaken) }

// be makes it rash or not.
func (l *loner) be(rash bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rash = rash
}

func (l *loner) CloseWrite(code int, reason string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bye = &wire.Close{Number: l.gone + uint64(len(l.out)) + 1, Code: code, Reason: reason}
	poke(l.news)
	return nil
}

func (l *loner) Close(code int, reason string) error {
	l.CloseWrite(code, reason)
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-l.done:
	case <-late.C:
		return errors.New("the server does not close")
	}
	if end := (*resumable.CloseError)(nil); !errors.As(l.why(), &end) {
		return l.why()
	}
	return nil
}

func (l *loner) CloseNow() error {
	l.end(resumable.ErrClosed)
	l.cancel()
	<-l.done
	return nil
}

// end ends the session, the first time.
func (l *loner) end(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLocked(why)
}

func (l *loner) endLocked(why error) {
	if l.err == nil {
		l.err = why
		l.tellLocked()
	}
}

// move says by what the session goes, and why.
func (l *loner) move(attached bool, why error) {
	l.mu.Lock()
	was := l.attached
	l.attached = attached
	l.tellLocked()
	l.mu.Unlock()
	if attached != was && l.o.OnTransport != nil {
		l.o.OnTransport(l.Transport(), why)
	}
}

// run attaches, and polls until that fails twice in a row, and attaches again: once at
// once and then by back-off.
func (l *loner) run() {
	defer close(l.done)
	defer l.http.CloseIdleConnections()
	for tries := 0; l.why() == nil; tries++ {
		if tries > 1 {
			l.rest(min(l.o.MinBackoff<<min(tries-2, 10), l.o.MaxBackoff))
		}
		err := l.post(l.ctx, l.hello())
		if err == nil && l.why() == nil {
			tries = 0
			l.move(true, nil)
			err = l.poll()
		}
		l.move(false, err)
	}
	l.lastWords()
}

// rest waits for a random time, unless it is shaken.
func (l *loner) rest(most time.Duration) {
	timer := time.NewTimer(rand.N(most + 1))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.shaken:
	case <-l.ctx.Done():
	}
}

// lastWords acknowledges the server's close.
func (l *loner) lastWords() {
	if end := (*resumable.CloseError)(nil); !errors.As(l.why(), &end) {
		return
	}
	for range 3 {
		if l.post(l.ctx, l.next(false)) == nil || l.ctx.Err() != nil {
			return
		}
	}
}
