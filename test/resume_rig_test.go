package test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"sidecar/client/resumable"
	"sidecar/test/faultlink"
	"sidecar/test/history"
)

// A kind is what a resumable client may go by.
type kind struct {
	name string
	may  []resumable.Transport // nil: all, in the race
	// alone: a client with nothing but polls, and no sends beside them.
	alone bool
}

var kinds = []kind{
	{"websocket", []resumable.Transport{resumable.WebSocket}, false},
	{"stream", []resumable.Transport{resumable.Stream}, false},
	{"poll", []resumable.Transport{resumable.Poll}, false},
	{"race", nil, false},
	{"poll alone", []resumable.Transport{resumable.Poll}, true},
}

// A road is what a client's connections go by. It may lead elsewhere from one moment
// to the next, as when a device changes its network; open connections stay.
type road struct {
	mu     sync.Mutex
	addr   string
	detour []string // what the next connections go by first, one each
}

// nowhere is where a road leads that ends: connections are refused.
const nowhere = "127.0.0.1:1"

func (r *road) lead(addr string, detour ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addr, r.detour = addr, detour
}

func (r *road) next() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.detour) == 0 {
		return r.addr
	}
	addr := r.detour[0]
	r.detour = r.detour[1:]
	return addr
}

func (r *road) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, r.next())
}

// A roamer is the client of a resumable session. It reads from the start to the end.
type roamer struct {
	resumer
	tally
	sends   history.Stream
	sending sync.Mutex
	ended   chan struct{} // closed when reading is over
	err     error         // why; read it after ended
	at      time.Time     // when; likewise

	seen  sync.Mutex
	moves []move
}

// A move is a change of the transport.
type move struct {
	to  resumable.Transport
	at  time.Time
	why error
}

func (m move) String() string {
	return fmt.Sprintf("to %q at %s (%v)", m.to, m.at.Format("05.000"), m.why)
}

func (c *roamer) moved(to resumable.Transport, why error) {
	c.seen.Lock()
	defer c.seen.Unlock()
	c.moves = append(c.moves, move{to, time.Now(), why})
}

// changes are the moves so far.
func (c *roamer) changes() []move {
	c.seen.Lock()
	defer c.seen.Unlock()
	return append([]move(nil), c.moves...)
}

func (c *roamer) read() {
	defer close(c.ended)
	for {
		_, b, err := c.Read(context.Background())
		if err != nil {
			c.err, c.at = err, time.Now()
			return
		}
		c.got(b)
	}
}

// send writes n messages of about size bytes, text and binary in turn.
func (c *roamer) send(n, size int) error {
	for i := range n {
		if err := c.sendOne(resumable.Text+resumable.Type(i%2), size); err != nil {
			return err
		}
	}
	return nil
}

func (c *roamer) sendOne(t resumable.Type, size int) error {
	c.sending.Lock() // so that numbers go out in order
	defer c.sending.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	return c.Write(ctx, t, c.h.Send(c.sends, size))
}

// A journey is one resumable session: both of its ends, and the client's road.
type journey struct {
	id      string
	client  *roamer
	backend *peer
	road    *road
}

// embark opens a session by a road that leads to addr. The caller closes it.
func (r *rig) embark(id, addr string, k kind, o resumable.Options) (*journey, error) {
	return r.embarkBy(&road{addr: addr}, id, k, o)
}

func (r *rig) embarkBy(way *road, id string, k kind, o resumable.Options) (*journey, error) {
	c := &roamer{
		tally: tally{h: r.h, reads: history.Stream{Session: id, Dir: history.Down}, want: -1},
		sends: history.Stream{Session: id, Dir: history.Up}, ended: make(chan struct{}),
	}
	o.DialContext, o.Transports, o.OnTransport = way.dial, k.may, c.moved
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	if c.resumer, err = k.dial(ctx, fmt.Sprintf("ws://%s/?id=%s", r.addr, id), o); err != nil {
		return nil, err
	}
	go c.read()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case b := <-r.arrivals.of(id):
		p := newPeer(r.h, b, id, history.Down, history.Up, -1)
		go p.read()
		return &journey{id, c, p, way}, nil
	case <-late.C:
		c.CloseNow()
		return nil, errors.New("the client is connected, but the backend is not")
	}
}

func (k kind) dial(ctx context.Context, url string, o resumable.Options) (resumer, error) {
	if k.alone {
		return dialAlone(ctx, url, o)
	}
	return resumable.Dial(ctx, url, &o)
}

// roam is embark for sessions that must open, and end with the test at the latest.
func (r *rig) roam(t testing.TB, id, addr string, k kind) *journey {
	t.Helper()
	j, err := r.embark(id, addr, k, resumable.Options{})
	if err != nil {
		t.Fatalf("opening %s by %s: %v", id, k.name, err)
	}
	if j.client.Transport() == resumable.Plain {
		t.Fatalf("%s became a plain WebSocket", id)
	}
	t.Cleanup(j.close)
	return j
}

func (j *journey) close() {
	j.client.CloseNow()
	j.backend.Close()
	<-j.client.ended
	<-j.backend.ended
}

// exchange sends n messages each way, and waits for all of them. It returns how long
// that took.
func (j *journey) exchange(t testing.TB, n, size int) time.Duration {
	t.Helper()
	start := time.Now()
	down := j.client.expect(j.client.h.Received(j.client.reads) + n)
	up := j.backend.expect(j.backend.h.Received(j.backend.reads) + n)
	sent := make(chan error, 2)
	go func() { sent <- j.client.send(n, size) }()
	go func() { sent <- j.backend.send(n, size) }()
	j.await(t, "what the backend sent", down)
	j.await(t, "what the client sent", up)
	for range 2 {
		if err := <-sent; err != nil {
			t.Errorf("%s: sending: %v", j.id, err)
		}
	}
	return time.Since(start)
}

// await is within for what the session's end must not be before.
func (j *journey) await(t testing.TB, what string, c <-chan struct{}) {
	t.Helper()
	late := time.NewTimer(2 * patience)
	defer late.Stop()
	select {
	case <-c:
	case <-j.client.ended:
		t.Fatalf("%s: %s did not come: the client ended with %v; moves %v", j.id, what, j.client.err, j.client.changes())
	case <-j.backend.ended:
		t.Fatalf("%s: %s did not come: the backend ended with %v; moves %v", j.id, what, j.backend.err, j.client.changes())
	case <-late.C:
		t.Fatalf("%s: %s: not within %v; %d up, %d down, transport %q, moves %v", j.id, what, 2*patience,
			j.backend.h.Received(j.backend.reads), j.client.h.Received(j.client.reads), j.client.Transport(), j.client.changes())
	}
}

// finish lets the client close, and wants a clean end at both ends.
func (j *journey) finish(t testing.TB) {
	t.Helper()
	if err := j.client.CloseWrite(1000, "done"); err != nil {
		t.Errorf("%s: closing: %v", j.id, err)
	}
	within(t, patience, j.id+": the client's end", j.client.ended)
	within(t, patience, j.id+": the backend's end", j.backend.ended)
	if got := closeCode(j.client.err); got != 1000 || j.backend.code() != 1000 {
		t.Errorf("%s: closed with %v at the client, %v at the backend; want 1000", j.id, j.client.err, j.backend.err)
	}
	j.close()
}

// closeCode is the code of a session's agreed end, or 0.
func closeCode(err error) int {
	if end := (*resumable.CloseError)(nil); errors.As(err, &end) {
		return end.Code
	}
	return 0
}

// goneReason is why a session ended that nobody ended, or "".
func goneReason(err error) string {
	if gone := (*resumable.Gone)(nil); errors.As(err, &gone) {
		return gone.Reason
	}
	return ""
}

// aside is one more link to the sidecar.
func (r *rig) aside(t testing.TB) *faultlink.Link {
	t.Helper()
	return newLink(t, r.addr)
}
