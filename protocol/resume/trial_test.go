package resume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

// A trial is a client object whose carriers die, fall mute, come late and come twice,
// by a random schedule, and a backend. What either side sends is its numbers in order,
// so that whoever gets them is a judge.
type trial struct {
	t      *testing.T
	seed   uint64
	rng    *rand.Rand
	c      *raw
	back   *peer
	count  uint64 // messages each way
	events chan event
	lanes  []*lane
	in     wire.Assembly
	at     wire.Ack // what the server has
	up     chan error
	closed bool // the server's CLOSE came
	over   bool
	opened bool
}

// A lane is a carrier in a trial.
type lane struct {
	kind       wire.Kind
	generation uint64
	token      string // that its HELLO named; "": it opens
	line       *line
	cancel     context.CancelFunc
	welcomed   bool
	mute       bool
	dead       bool
	polling    bool
}

// An event is what came by a lane. Without a frame and an error, an answer is over.
type event struct {
	lane  *lane
	frame wire.Frame
	err   error
}

// payload is message number of either direction: some are cut into pieces.
func (x *trial) payload(number uint64) []byte {
	head := fmt.Sprintf("%d %d ", x.seed, number)
	if number%37 == 0 {
		return append([]byte(head), bytes.Repeat([]byte{byte('a' + number%26)}, 70_000+int(number))...)
	}
	return []byte(head)
}

func runTrial(t *testing.T, r *rig, seed, count uint64) {
	x := &trial{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), c: r.raw(), count: count,
		events: make(chan event, 10_000), up: make(chan error, 1),
	}
	x.c.query = fmt.Sprintf("seed=%d", seed)
	defer x.clean()
	start := time.Now()
	defer func() { t.Logf("seed %d: %v, %d carriers", seed, time.Since(start), len(x.lanes)) }()
	late := time.After(patience)
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for !x.over {
		select {
		case e := <-x.events:
			x.heed(e)
		case err := <-x.up:
			if err != nil {
				t.Fatalf("seed %d: backend: %v", seed, err)
			}
			x.up = nil
		case <-tick.C:
			x.step(r)
		case <-late:
			t.Fatalf("seed %d: not over after %v: received %+v, server has %+v of %d; %d lanes", seed, patience, x.c.got, x.at, count, len(x.lanes))
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func (x *trial) clean() {
	for _, l := range x.lanes {
		x.kill(l)
	}
	if x.back != nil {
		x.back.Close()
	}
	x.c.http.CloseIdleConnections()
}

// serve is the backend's part: it wants the client's numbers in order, and tells its
// own meanwhile.
func (x *trial) serve(b *peer) {
	x.back = b
	go func() {
		for n := uint64(1); n <= x.count; n++ {
			if b.WriteMessage(websocket.BinaryMessage, x.payload(n)) != nil {
				return
			}
		}
	}()
	go func() {
		for n := uint64(1); n <= x.count; n++ {
			b.SetReadDeadline(time.Now().Add(patience))
			_, m, err := b.ReadMessage()
			if err != nil {
				x.up <- fmt.Errorf("message %d: %w", n, err)
				return
			}
			if !bytes.Equal(m, x.payload(n)) {
				x.up <- fmt.Errorf("message %d is %.40q", n, m)
				return
			}
		}
		x.up <- nil
		b.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4000, "done"), time.Now().Add(patience))
	}()
}

// heed takes what came.
func (x *trial) heed(e event) {
	l := e.lane
	switch {
	case l.mute || l.dead:
	case e.err != nil:
		l.dead = true
	case e.frame.Type == 0:
		l.polling = false
	default:
		x.frame(l, e.frame)
	}
}

func (x *trial) frame(l *lane, f wire.Frame) {
	switch f.Type {
	case wire.TypeWelcome:
		w, err := wire.ParseWelcome(f.Body)
		if err != nil || x.c.session != "" && w.Session != x.c.session {
			x.t.Errorf("WELCOME %s, %v; session is %q", f.Body, err, x.c.session)
			return
		}
		if w.Lowest > x.in.Ack(0).Next() {
			x.t.Errorf("a gap: %+v, where %+v came", *w, x.in.Ack(0))
		}
		if x.c.session = w.Session; l.token == x.c.token { // else it is an older one (§5.4)
			x.c.token = w.Token
		}
		l.welcomed = true
		x.word(w.Ack())
	case wire.TypeAck:
		a, err := wire.ParseAck(f.Body)
		if err != nil {
			x.t.Error(err)
		}
		x.word(a)
	case wire.TypeData:
		x.data(l, f)
	case wire.TypeClose:
		said, err := wire.ParseClose(f.Body)
		if err == nil {
			_, err = x.in.Close(said.Number)
		}
		if err != nil {
			x.close(l, err)
			return
		}
		if said.Code != 4000 || said.Number != x.count+1 {
			x.t.Errorf("got %s; want CLOSE %d 4000", show(f), x.count+1)
		}
		x.closed = true
		x.c.got = wire.Ack{Received: said.Number}
	case wire.TypeGone:
		x.gone(l, f)
	}
}

// data takes a message's piece.
func (x *trial) data(l *lane, f wire.Frame) {
	d, err := wire.ParseData(f.Body)
	if err != nil {
		x.t.Error(err)
		return
	}
	m, whole, err := x.in.Add(d)
	if err != nil {
		x.close(l, err)
		return
	}
	if whole && !bytes.Equal(m, x.payload(d.Number)) {
		x.t.Errorf("message %d is %.40q", d.Number, m)
	}
	x.c.got = x.in.Ack(x.in.Ack(0).Ahead)
}

// close gives up a lane that had a gap: what came before was cut, as by a truncated
// answer.
func (x *trial) close(l *lane, err error) {
	if !errors.Is(err, wire.ErrGap) {
		x.t.Errorf("%s: %v", l.kind, err)
	}
	x.t.Errorf("a gap by %s: %v", l.kind, err)
}

// gone is the end, or that of a lane whose token was void by then.
func (x *trial) gone(l *lane, f wire.Frame) {
	g, err := wire.ParseGone(f.Body)
	switch {
	case err != nil:
		x.t.Error(err)
	case x.closed && g.Reason == "closed":
		x.over = true
	case g.Reason == "unknown" && l.token != x.c.token:
		l.dead = true
	default:
		x.t.Errorf("GONE %s by %s", g.Reason, l.kind)
	}
}

// word is the server's on what it has.
func (x *trial) word(a wire.Ack) {
	if a.Received > x.at.Received || a.Received == x.at.Received && a.Next() > x.at.Next() || a.Next() == x.at.Next() && a.Partial > x.at.Partial {
		x.at = a
	}
}

// live are the lanes that may be used.
func (x *trial) live(welcomed bool) (all []*lane) {
	for _, l := range x.lanes {
		if !l.dead && !l.mute && l.welcomed == welcomed {
			all = append(all, l)
		}
	}
	return all
}

func pick[T any](rng *rand.Rand, all []T) T { return all[rng.IntN(len(all))] }

// step does something at random.
func (x *trial) step(r *rig) {
	if x.back == nil {
		select {
		case c := <-r.back.conns:
			x.serve(&peer{x.t, c, patience})
		default:
		}
	}
	ready := x.live(true)
	switch n := x.rng.IntN(1000); {
	case len(ready) == 0 && len(x.live(false)) == 0, n < 30 && len(ready)+len(x.live(false)) < 4:
		x.begin()
	case len(ready) == 0:
		if n > 995 {
			x.kill(pick(x.rng, x.live(false)))
		}
	case n < 45:
		x.kill(pick(x.rng, ready))
	case n < 52:
		pick(x.rng, ready).mute = true
	case n < 90:
		x.use(pick(x.rng, ready))
	case n < 400:
		x.say(pick(x.rng, ready))
	}
}

// Lost 0, doubled 0, reordered 0, whatever becomes of the carriers.
func TestRandomSchedules(t *testing.T) {
	first, trials, count := uint64(1), uint64(6), uint64(300)
	if *long > 0 {
		first, trials = uint64(time.Now().UnixNano()), uint64(*long)
	}
	inEveryWay(t, func(t *testing.T, r *rig) {
		before := runtime.NumGoroutine()
		defer func() {
			r.empty()
			eventually(t, "goroutines beyond those before", true, func() bool {
				r.CloseClientConnections()
				http.DefaultTransport.(*http.Transport).CloseIdleConnections()
				return runtime.NumGoroutine() <= before
			})
		}()
		for seed := first; seed < first+trials; seed++ {
			runTrial(t, r, seed, count)
			r.wantSessions(0)
		}
	})
}
