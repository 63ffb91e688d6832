package resume

import (
	"context"
	"errors"
	"sync"
	"time"

	"sidecar/protocol/resume/wire"
)

const (
	// maxOpenings bounds the openings that are under way or remembered. At the bound
	// those that were answered are forgotten early.
	maxOpenings = 64 << 10
	// maxWaiting is how many carriers may wait for one (§5.3).
	maxWaiting = 8
	// joinTime is how long an opening may be joined once it was answered, and
	// refusedTime one that was refused.
	joinTime    = 60 * time.Second
	refusedTime = 10 * time.Second
)

var errCrowd = errors.New("too many wait for this opening")

// A Lobby is where sessions of all routes are opened: the carriers of one client
// object meet here, so that their race opens one connection to the backend. Its zero
// value is ready.
type Lobby struct {
	mu      sync.Mutex
	all     map[wire.Key]*opening
	crowd   int // the most that there were
	dials   sync.WaitGroup
	ctx     context.Context // theirs
	cancel  context.CancelFunc
	closed  bool
	clients map[*client]struct{}
	most    int           // that there were
	until   time.Time     // when a drain ends; zero: there is none
	empty   chan struct{} // closed once there are no clients; nil: nobody waits for that
}

// An opener opens a session, or says why not. brief: that is not to be remembered, for
// it cost nothing and strangers can have as many of them as they like.
type opener func(context.Context) (c *client, refused *wire.Refused, brief bool)

// An opening is a session that is asked for, and then what came of it.
type opening struct {
	done    chan struct{} // closed once there is an answer
	client  *client
	refused *wire.Refused
	waiting int // under the lobby's lock
}

// meet finds the opening of a HELLO, or begins it, and waits for its answer. The
// error is errCrowd, or ctx's: the opening goes on without its carrier.
func (l *Lobby) meet(ctx context.Context, key wire.Key, open opener) (*client, *wire.Refused, error) {
	o, err := l.enter(key, open)
	if o == nil {
		return nil, errFull, err
	}
	if err != nil {
		return nil, nil, err
	}
	defer l.leave(o)
	select {
	case <-o.done:
		return o.client, o.refused, nil
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
}

var errFull = &wire.Refused{Status: 503, Retry: 1000, Text: "too many sessions are being opened"}

func (l *Lobby) enter(key wire.Key, open opener) (*opening, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.all[key]
	switch {
	case o == nil && (l.closed || len(l.all) >= maxOpenings && !l.makeRoom()):
		return nil, nil
	case o == nil:
		o = &opening{done: make(chan struct{})}
		if l.all == nil {
			l.all = make(map[wire.Key]*opening)
		}
		if l.ctx == nil {
			l.ctx, l.cancel = context.WithCancel(context.Background())
		}
		l.all[key] = o
		l.crowd = max(l.crowd, len(l.all))
		l.dials.Add(1)
		go l.run(key, o, open)
	case o.waiting >= maxWaiting:
		return o, errCrowd
	}
	o.waiting++
	return o, nil
}

// makeRoom forgets an opening that was answered, or one address could keep everybody
// from opening for a minute by sessions that it ends at once. It looks at some only:
// where these are all under way, most are. The caller holds mu.
func (l *Lobby) makeRoom() bool {
	looks := 64
	for key, o := range l.all {
		select {
		case <-o.done:
			delete(l.all, key)
			return true
		default:
		}
		if looks--; looks == 0 {
			break
		}
	}
	return false
}

func (l *Lobby) leave(o *opening) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.waiting--
}

// run opens a session. It outlives the carrier that asked, whose HELLO may come
// again by another.
func (l *Lobby) run(key wire.Key, o *opening, open opener) {
	defer l.dials.Done()
	var brief bool
	o.client, o.refused, brief = open(l.ctx)
	close(o.done)
	switch {
	case brief:
		l.forget(key, o)
	case o.refused != nil:
		time.AfterFunc(refusedTime, func() { l.forget(key, o) })
	default:
		time.AfterFunc(joinTime, func() { l.forget(key, o) })
	}
}

// forget forgets an opening, unless it was already and another has its place.
func (l *Lobby) forget(key wire.Key, o *opening) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all[key] != o {
		return
	}
	delete(l.all, key)
	if len(l.all) == 0 && l.crowd > burst {
		l.all, l.crowd = nil, 0 // a map does not shrink
	}
}

// Close has nothing be opened any more, and returns when nobody is at it. It may be
// called again.
func (l *Lobby) Close() {
	l.mu.Lock()
	l.closed = true
	if l.cancel != nil {
		l.cancel()
	}
	l.mu.Unlock()
	l.dials.Wait()
}
