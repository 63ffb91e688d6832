package test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"sidecar/client/resumable"
	"sidecar/test/faultlink"
)

// slack is what a slow machine may take beyond what the protocol says.
const slack = time.Second

// quick judges silence soon: whoever is silent is lost after 800 ms, and 500 ms more
// that a client leaves the server to ask (docs/protocol.md, 10).
const quick = "heartbeat: {interval: 400ms, timeout: 400ms}\nresume: {poll: 1s}\n"

// What judging silence takes with these settings: a WebSocket by heartbeat, 500 ms and
// timeout; a stream by heartbeat and timeout; a poll when its answer is overdue, and a
// send by timeout and a second, and another wait of at most 500 ms.
var silence = map[string]time.Duration{
	"websocket": 1300 * time.Millisecond, "stream": 1900 * time.Millisecond,
	"poll": 1900 * time.Millisecond, "race": 1300 * time.Millisecond,
	"poll alone": 1900 * time.Millisecond,
}

// everyKind runs a test for each kind of carrier and for the race.
func everyKind(t *testing.T, test func(t *testing.T, k kind)) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(t, k)
		})
	}
}

// A connection that ends costs one round trip and no message, whoever learns of it.
func TestResumeResetAndFIN(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind) {
		r := newRig(t, "")
		for _, how := range []faultlink.Ending{faultlink.Reset, faultlink.FIN} {
			j := r.roam(t, fmt.Sprintf("end%d", how), r.front.Addr(), k)
			for range 5 {
				j.exchange(t, 20, 1000)
				r.front.End(faultlink.Both, how)
				if took := j.exchange(t, 1, 1000); took > slack {
					t.Errorf("ending %d: took %v; want a round trip", how, took)
				}
			}
			j.finish(t)
		}
		r.wantClean(t)
	})
}

// In the midst of traffic, which goes on meanwhile.
func TestResumeResetUnderLoad(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind) {
		r := newRig(t, "")
		j := r.roam(t, "s", r.front.Addr(), k)
		cuts := make(chan int)
		stop := make(chan struct{})
		go func() { cuts <- r.keepCutting(j, 40*time.Millisecond, stop) }()
		j.exchange(t, 500, 2000)
		close(stop)
		if n := <-cuts; n == 0 {
			t.Error("there was no cut")
		} else {
			t.Logf("%s: %d cuts", k.name, n)
		}
		j.finish(t)
		r.wantClean(t)
	})
}

// keepCutting ends what goes by the front link again and again, but not before something
// has come since: who fails again and again does not come back at once. It says how often.
func (r *rig) keepCutting(j *journey, every time.Duration, stop <-chan struct{}) (cuts int) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for before := -1; ; {
		select {
		case <-stop:
			return cuts
		case <-tick.C:
			came := r.h.Received(j.client.reads) + r.h.Received(j.backend.reads)
			if came == before {
				continue
			}
			before = came
			r.front.End(faultlink.Both, faultlink.Ending(1+cuts%2))
			cuts++
		}
	}
}

// One end alone learns of the connection's end: to the other it is a black hole.
func TestResumeHalfOpen(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind) {
		for d, name := range map[faultlink.Dir]string{faultlink.Up: "server told", faultlink.Down: "client told"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, quick)
				j := r.roam(t, "s", r.front.Addr(), k)
				j.exchange(t, 20, 1000)
				r.front.End(d, faultlink.Reset)
				took := j.exchange(t, 5, 1000)
				bound := slack
				if d == faultlink.Up {
					bound += silence[k.name]
				}
				if took > bound {
					t.Errorf("took %v; want at most %v; moves %v", took, bound, j.client.changes())
				}
				t.Logf("%s, %s: back after %v", k.name, name, took)
				j.finish(t)
				r.wantClean(t)
			})
		}
	})
}

// someDirs are all directions in a long run, and one in a normal one.
func someDirs(t testing.TB) map[faultlink.Dir]string {
	all := map[faultlink.Dir]string{faultlink.Up: "up", faultlink.Down: "down", faultlink.Both: "both"}
	if isLong() {
		return all
	}
	_, rng := random(t)
	d := faultlink.Dir(1 + rng.IntN(3))
	return map[faultlink.Dir]string{d: all[d]}
}

// The connections that are open lead nowhere any more, in one direction or both, and
// new ones work: as behind an address translation that forgot them.
func TestResumeBlackhole(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind) {
		for d, name := range someDirs(t) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, quick)
				j := r.roam(t, "s", r.front.Addr(), k)
				j.exchange(t, 20, 1000)
				j.road.lead(r.aside(t).Addr())
				r.front.Set(d, faultlink.Fault{Blackhole: true})
				took := j.exchange(t, 5, 1000)
				if bound := silence[k.name] + slack; took > bound {
					t.Errorf("took %v; want at most %v; moves %v", took, bound, j.client.changes())
				}
				t.Logf("%s, %s: back after %v", k.name, name, took)
				j.exchange(t, 20, 1000) // and what was thought dead cannot deliver any more
				r.front.Set(faultlink.Both, faultlink.Fault{})
				j.exchange(t, 20, 1000)
				j.finish(t)
				r.wantClean(t)
			})
		}
	})
}

// A path that is slow but works is no reason to give up.
func TestResumeLatency(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind) {
		r := newRig(t, "heartbeat: {interval: 300ms, timeout: 2500ms}\nresume: {poll: 1s}\n")
		j := r.roam(t, "s", r.front.Addr(), k)
		j.exchange(t, 5, 1000)
		before := max(len(j.client.changes()), 1) // the first may be told a little later
		r.front.Set(faultlink.Both, faultlink.Fault{Delay: 250 * time.Millisecond})
		j.exchange(t, 20, 1000)
		idle := time.NewTimer(1500 * time.Millisecond) // beats alone
		defer idle.Stop()
		<-idle.C
		j.exchange(t, 20, 1000)
		if got := j.client.changes(); len(got) > before {
			t.Errorf("the transport changed: %v", got[before:])
		}
		r.front.Set(faultlink.Both, faultlink.Fault{})
		j.finish(t)
		r.wantClean(t)
	})
}

// 8 kB/s: slow, and no message is lost or sent in vain for ever.
func TestResumeRateLimit(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind) {
		r := newRig(t, "heartbeat: {interval: 1s, timeout: 2s}\n")
		j := r.roam(t, "s", r.front.Addr(), k)
		j.exchange(t, 1, 100)
		before := max(len(j.client.changes()), 1) // the first may be told a little later
		r.front.Set(faultlink.Both, faultlink.Fault{Rate: 8000})
		n := 10
		if isLong() {
			n = 50
		}
		took := j.exchange(t, n, 1600) // 200 ms each
		if got := j.client.changes(); len(got) > before {
			t.Errorf("the transport changed: %v", got[before:])
		}
		if bytes := time.Duration(n) * 200 * time.Millisecond; took > 2*bytes+slack {
			t.Errorf("took %v; want little more than the %v that the bytes take", took, bytes)
		}
		t.Logf("%s: %d kB each way in %v", k.name, n*16/10, took)
		r.front.Set(faultlink.Both, faultlink.Fault{})
		j.finish(t)
		r.wantClean(t)
	})
}

// A process that was stopped for 2 s, and goes on: nothing is lost, though clients may
// have come again meanwhile.
func TestResumeSidecarStopped(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind) {
		r, p := newProgramRig(t, quick)
		j := r.roam(t, "s", r.front.Addr(), k)
		j.exchange(t, 20, 1000)
		p.signal(t, syscall.SIGSTOP)
		asleep := time.AfterFunc(2*time.Second, func() { p.signal(t, syscall.SIGCONT) })
		defer asleep.Stop()
		took := j.exchange(t, 50, 1000)
		if bound := 2*time.Second + silence[k.name] + slack; took > bound {
			t.Errorf("took %v; want at most %v; moves %v", took, bound, j.client.changes())
		}
		t.Logf("%s: back %v after the stop", k.name, took)
		j.finish(t)
		r.wantClean(t)
	})
}

// A drain: all that was said before is there, and the end says 1001 at both ends. With a
// delay, for who is between two polls when the listeners close finds nobody to tell it.
func TestResumeDrained(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind) {
		r, p := newProgramRig(t, "drain: {delay: 500ms, for: 1s}\n")
		j := r.roam(t, "s", r.front.Addr(), k)
		j.exchange(t, 50, 1000)
		start := time.Now()
		p.signal(t, syscall.SIGTERM)
		within(t, patience, "the client's end", j.client.ended)
		within(t, patience, "the backend's end", j.backend.ended)
		if took := j.client.at.Sub(start); took > 2500*time.Millisecond {
			t.Errorf("told after %v; want drain.delay (500ms), drain.for (1s) and at most a second", took)
		}
		if closeCode(j.client.err) != 1001 || j.backend.code() != 1001 {
			t.Errorf("ended with %v at the client, %v at the backend; want 1001", j.client.err, j.backend.err)
		}
		if got := p.exit(t, patience); got != 0 {
			t.Errorf("exit code %d; want 0", got)
		}
		r.wantClean(t)
	})
}

// A drain while the client is away: it is told nothing, and finds nobody; its road then
// leads to another process, which does not know it.
func TestResumeRestarted(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind) {
		r, p := newProgramRig(t, "")
		j := r.roam(t, "s", r.front.Addr(), k)
		j.exchange(t, 20, 1000)
		second := startProgram(t, r.back.Addr(), "")
		start := time.Now()
		j.road.lead(second.addr)
		p.signal(t, syscall.SIGKILL)
		within(t, patience, "the client's end", j.client.ended)
		if took := j.client.at.Sub(start); took > 500*time.Millisecond+slack || goneReason(j.client.err) != "unknown" {
			t.Errorf("ended with %v after %v; want GONE unknown within a round trip and one back-off", j.client.err, took)
		}
		if err := j.client.sendOne(resumable.Text, 100); goneReason(err) != "unknown" {
			t.Errorf("writing afterwards: %v", err)
		}
		j.client.h.Told(j.id, j.client.err.Error())
		r.wantHonest(t)
	})
}

// The backend's connection dies: that is an end, and the client is told by 1012.
func TestResumeBackendLost(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind) {
		r := newRig(t, "")
		j := r.roam(t, "s", r.front.Addr(), k)
		j.exchange(t, 20, 1000)
		start := time.Now()
		r.back.End(faultlink.Both, faultlink.Reset)
		within(t, patience, "the client's end", j.client.ended)
		if took := j.client.at.Sub(start); took > slack || closeCode(j.client.err) != 1012 {
			t.Errorf("ended with %v after %v; want 1012 at once", j.client.err, took)
		}
		r.wantClean(t)
	})
}

// Nobody comes back in time: the backend is told 1001, and the client GONE expired.
func TestResumeExpired(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind) {
		r := newRig(t, "session: {ttl: 1s}\n")
		j := r.roam(t, "s", r.front.Addr(), k)
		j.exchange(t, 20, 1000)
		j.road.lead(nowhere)
		r.front.End(faultlink.Both, faultlink.Reset)
		within(t, patience, "the backend's end", j.backend.ended)
		if j.backend.code() != 1001 {
			t.Errorf("the backend was told %v; want 1001", j.backend.err)
		}
		j.road.lead(r.front.Addr())
		j.client.CheckNetwork()
		within(t, patience, "the client's end", j.client.ended)
		if goneReason(j.client.err) != "expired" || errors.Is(j.client.err, resumable.ErrUnreachable) {
			t.Errorf("the client was told %v; want GONE expired", j.client.err)
		}
		r.wantClean(t)
	})
}
