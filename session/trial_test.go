package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"sidecar/test/history"
)

// A trial is a few sessions with clients, carriers and backends, each in
// goroutines of its own, in a bubble where time costs nothing.
type trial struct {
	ctx    context.Context // the backends', carriers' and clients'
	all    Sessions
	h      history.History
	fault  fault
	judges []*judge
	wg     sync.WaitGroup

	mu  sync.Mutex
	rng *rand.Rand
	err error
}

func (t *trial) wrong(format string, a ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = fmt.Errorf(format, a...)
	}
}

func (t *trial) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// chance makes a source of chance for one goroutine.
func (t *trial) chance() *rand.Rand {
	t.mu.Lock()
	defer t.mu.Unlock()
	return rand.New(rand.NewPCG(t.rng.Uint64(), t.rng.Uint64()))
}

// rest waits for d, or reports that the trial is over.
func (t *trial) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// ms is a random time of at most so many milliseconds; whole ones, so that
// inspect's time is nobody else's.
func ms(rng *rand.Rand, most int) time.Duration {
	return time.Duration(rng.IntN(most+1)) * time.Millisecond
}

// A server is the backend of one session: it says what it has to, takes what it
// gets, slowly if it is slow, and closes in its own time.
type server struct {
	trial    *trial
	j        *judge
	up, down history.Stream
	says     int
	closes   bool // by itself, when all is said
	slow     int  // the most milliseconds for a Write
	failsAt  int  // which Write does; 0: none
	writes   int
	room     chan struct{}
	hungUp   chan struct{}
	once     sync.Once
	rng      *rand.Rand // of the goroutine that writes
}

func (b *server) Write(m Message) error {
	b.writes++
	if b.slow > 0 {
		timer := time.NewTimer(ms(b.rng, b.slow))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-b.hungUp:
			return errors.New("closed")
		}
	}
	if b.writes == b.failsAt {
		b.once.Do(func() { close(b.hungUp) })
		return errors.New("reset")
	}
	b.trial.h.Receive(b.up, m.Data)
	return nil
}

func (b *server) Close(Close) { b.once.Do(func() { close(b.hungUp) }) }

func (b *server) Room() {
	select {
	case b.room <- struct{}{}:
	default:
		b.trial.wrong("Room was called twice")
	}
}

// talk is the backend's reader.
func (b *server) talk(rng *rand.Rand) {
	defer b.trial.wg.Done()
	pace := []int{0, 20, 500, 5000}[rng.IntN(4)]
	for range b.says {
		timer := time.NewTimer(ms(rng, pace))
		select {
		case <-timer.C:
		case <-b.hungUp: // what is left is said at once
			timer.Stop()
		}
		if b.j.Deliver(Message{Data: b.trial.h.Send(b.down, 40+rng.IntN(1500))}) {
			continue
		}
		select {
		case <-b.room:
		case <-b.trial.ctx.Done():
			return
		}
	}
	if !b.closes {
		select {
		case <-b.hungUp:
		case <-b.trial.ctx.Done():
			return
		}
	}
	b.j.DeliverClose(Close{4000, "said all"})
}

// A plan is what kind of trial it is to be.
type plan struct {
	set             Settings
	says            int
	closes          bool // the backend does, else the client
	slow, failsAt   int
	steady, patient bool // the carriers do not fail; the client stays until it is told
}

func (t *trial) plan(rng *rand.Rand) plan {
	p := plan{
		set:  Settings{TTL: time.Minute, Window: minWindow << rng.IntN(3), Overflow: "pause"},
		says: rng.IntN(60), closes: rng.IntN(2) == 0, patient: rng.IntN(8) > 0, steady: rng.IntN(4) == 0,
	}
	if rng.IntN(8) == 0 {
		p.set.Overflow = "close"
	}
	if rng.IntN(3) == 0 {
		p.slow = 1 << rng.IntN(13)
	}
	if rng.IntN(10) == 0 {
		p.failsAt = 1 + rng.IntN(20)
	}
	return p
}

// open begins a session with its judge, its fault and its backend. up and down
// are the streams of messages each way.
func (t *trial) open(p plan, name string) (*judge, *server) {
	rng := t.chance()
	b := &server{
		trial: t, up: history.Stream{Session: name, Dir: history.Up}, down: history.Stream{Session: name, Dir: history.Down},
		says: p.says, closes: p.closes, slow: p.slow, failsAt: p.failsAt,
		room: make(chan struct{}, 1), hungUp: make(chan struct{}), rng: t.chance(),
	}
	j := &judge{trial: t, set: &p.set, inner: b, heard: time.Now()}
	b.j = j
	s, err := t.all.Open(Opening{Settings: j.set, Backend: t.fault.behind(desk{j}), Ended: j.finished})
	if err != nil {
		if !errors.Is(err, ErrFull) || t.all.Memory == 0 {
			t.wrong("opening: %v", err)
		}
		return nil, nil
	}
	j.core = t.fault.before(sound{s})
	t.mu.Lock()
	t.judges = append(t.judges, j)
	t.mu.Unlock()
	t.wg.Add(1)
	go b.talk(rng)
	return j, b
}

// watch inspects every second, at a time when all others wait. Once something is
// wrong the trial is over.
func (t *trial) watch(stop <-chan struct{}, cancel func()) {
	defer t.wg.Done()
	time.Sleep(500 * time.Nanosecond)
	timer := time.NewTicker(time.Second)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-timer.C:
			if t.inspect(); t.failed() != nil {
				cancel()
			}
		}
	}
}

func (t *trial) inspect() {
	t.mu.Lock()
	judges := t.judges
	t.mu.Unlock()
	held := int64(0)
	for _, j := range judges {
		held += j.inspect()
	}
	if got := t.all.Held(); got != held {
		t.wrong("%d bytes are held; want %d", got, held)
	}
}
