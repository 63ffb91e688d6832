package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/client/resumable"
	"sidecar/test/faultlink"
)

// Sessions of all kinds, each with a schedule of its own of whatever comes to mind,
// while messages go both ways. Nothing is lost, doubled, reordered or foreign, unless
// the backend dies: then the client is told.
func TestResumeRandomSchedules(t *testing.T) {
	t.Parallel()
	sufferAll(t, 4*time.Second)
}

func TestResumeRandomSchedulesForTenMinutes(t *testing.T) {
	long(t)
	sufferAll(t, 10*time.Minute)
}

func sufferAll(t *testing.T, d time.Duration) {
	seed, _ := random(t)
	// Backends are judged by the same heartbeat, and are not to be found silent where
	// the machine is busy.
	r := newRig(t, "heartbeat: {interval: 400ms, timeout: 1200ms}\nresume: {poll: 1s}\nlog: {level: info, format: json}\n")
	end := time.Now().Add(d)
	var schedules, faults, told atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for time.Now().Before(end) && !t.Failed() {
				i := schedules.Add(1)
				s := &schedule{r: r, seed: seed, number: uint64(i), kind: kinds[i%int64(len(kinds))]}
				s.run(t)
				faults.Add(int64(s.faults))
				if s.dies {
					told.Add(1)
				}
			}
		})
	}
	wg.Wait()
	got := r.wantHonest(t)
	t.Logf("E2E_SEED=%d: %d schedules with %d faults; %d backends died", seed, schedules.Load(), faults.Load(), told.Load())
	if got.Sent == 0 || told.Load() == 0 && got.Lost > 0 {
		t.Errorf("seed %d: %v, though no backend died", seed, got)
	}
}

// A schedule is one session and what it suffers, by its number of a seed.
type schedule struct {
	r      *rig
	seed   uint64
	number uint64
	kind   kind
	faults int
	dies   bool // the backend does, in the midst of it
}

// chance is a source of it for one goroutine of the schedule.
func (s *schedule) chance(of uint64) *rand.Rand {
	return rand.New(rand.NewPCG(s.seed, s.number<<8|of))
}

func (s *schedule) run(t *testing.T) {
	rng := s.chance(0)
	links := []*faultlink.Link{s.r.aside(t), s.r.aside(t)}
	defer links[0].Close()
	defer links[1].Close()
	id := fmt.Sprintf("n%d", s.number)
	o := resumable.Options{MinBackoff: 50 * time.Millisecond, MaxBackoff: 500 * time.Millisecond, Window: 4 << 10 << rng.IntN(8)}
	j, err := s.r.embark(id, links[0].Addr(), s.kind, o)
	if err != nil {
		t.Errorf("seed %d: opening %s by %s: %v", s.seed, id, s.kind.name, err)
		return
	}
	defer j.close()
	n, size := 20+rng.IntN(100), 40<<rng.IntN(11)
	down, up := j.client.expect(n), j.backend.expect(n)
	s.dies = rng.IntN(10) == 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { s.say(ctx, j.client.sendOne, s.chance(1), n, size) })
	wg.Go(func() {
		s.say(ctx, func(k resumable.Type, size int) error { return j.backend.sendOne(int(k), size) }, s.chance(2), n, size)
	})
	s.harm(t.Context(), j, rng, links, down, up)
	if s.dies {
		reset(j.backend.line.(*websocket.Conn))
		s.ends(t, j)
		return
	}
	late := time.NewTimer(2 * patience)
	defer late.Stop()
	for _, c := range []<-chan struct{}{down, up} {
		select {
		case <-c:
			continue
		case <-j.client.ended:
			t.Errorf("seed %d: %s by %s ended with %v; moves %v", s.seed, id, s.kind.name, j.client.err, j.client.changes())
		case <-late.C:
			t.Errorf("seed %d: %s by %s hangs: %d of %d down, %d up; transport %q, moves %v", s.seed, id, s.kind.name,
				j.client.h.Received(j.client.reads), n, j.backend.h.Received(j.backend.reads), j.client.Transport(), j.client.changes())
		}
		return
	}
	j.leave(t)
}

// ends waits until the client knows that the backend has died.
func (s *schedule) ends(t *testing.T, j *journey) {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-j.client.ended:
		if closeCode(j.client.err) != 1012 {
			t.Errorf("seed %d: %s: told %v; want 1012", s.seed, j.id, j.client.err)
		}
		j.client.h.Told(j.id, j.client.err.Error())
	case <-late.C:
		t.Errorf("seed %d: %s is not told of the backend's death; moves %v", s.seed, j.id, j.client.changes())
	}
}

// say sends n messages, in bursts.
func (s *schedule) say(ctx context.Context, send func(resumable.Type, int) error, rng *rand.Rand, n, size int) {
	for i := range n {
		if rng.IntN(4) == 0 {
			rest(ctx, time.Duration(rng.IntN(60))*time.Millisecond)
		}
		if ctx.Err() != nil || send(resumable.Text+resumable.Type(i%2), 20+rng.IntN(size)) != nil {
			return
		}
	}
}

// harm sets faults until all has arrived, but no more than 12, and leaves healthy
// links behind.
func (s *schedule) harm(ctx context.Context, j *journey, rng *rand.Rand, links []*faultlink.Link, down, up <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		for _, c := range []<-chan struct{}{down, up} {
			select {
			case <-c:
			case <-j.client.ended:
			case <-ctx.Done():
			}
		}
	}()
	at := 0
	for range 1 + rng.IntN(12) {
		l, f, d := links[at], randomFault(rng), faultlink.Dir(1+rng.IntN(3))
		how, told := faultlink.Ending(1+rng.IntN(2)), faultlink.Dir(1+rng.IntN(3))
		pause, calm := time.Duration(20+rng.IntN(400))*time.Millisecond, time.Duration(rng.IntN(200))*time.Millisecond
		what := rng.IntN(8)
		if ctx.Err() != nil {
			return
		}
		s.faults++
		switch what {
		case 0:
			l.End(told, how)
		case 1:
			j.road.lead(nowhere)
			l.End(faultlink.Both, how)
		case 2: // to another network; the old connections may still bring something
			at = 1 - at
			j.road.lead(links[at].Addr())
			j.client.CheckNetwork()
		case 3: // and here nobody says so
			at = 1 - at
			j.road.lead(links[at].Addr())
			l.Set(d, faultlink.Fault{Blackhole: true})
		default:
			l.Set(d, f)
		}
		rest(ctx, pause)
		j.road.lead(links[at].Addr())
		if l.Set(faultlink.Both, faultlink.Fault{}); f.Blackhole || what == 3 || told != faultlink.Both {
			l.End(faultlink.Both, faultlink.Reset) // who lost bytes is out of step for good
		}
		rest(ctx, calm)
	}
}
