package heartbeat

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

var start = time.Now()

func at(d time.Duration) time.Time { return start.Add(d) }

// A beat is a pulse and the policy it follows.
type beat struct {
	Pulse
	policy Policy
}

func begin(p Policy, jitter float64) *beat { return &beat{p.Start(start, jitter), p} }

// wantNext compares what is due at now, both times given from the start.
func wantNext(t *testing.T, p *beat, now time.Duration, want Action, next time.Duration) {
	t.Helper()
	got, when := p.Next(p.policy, at(now))
	if got != want || !when.Equal(at(next)) {
		t.Errorf("Next at %v = %v, %v; want %v, %v", now, got, when.Sub(start), want, next)
	}
}

func TestSilentPeerIsProbedThenLost(t *testing.T) {
	p := begin(Policy{Interval: 20 * time.Second, Timeout: 10 * time.Second}, 0)
	wantNext(t, p, 0, None, 20*time.Second)
	wantNext(t, p, 20*time.Second, Probe, 20*time.Second)
	p.Sent(at(20 * time.Second))
	wantNext(t, p, 20*time.Second, None, 30*time.Second)
	wantNext(t, p, 30*time.Second-1, None, 30*time.Second)
	wantNext(t, p, 30*time.Second, Lost, 30*time.Second)
}

func TestAnyTrafficIsLife(t *testing.T) {
	p := begin(Default(), 0)
	p.Sent(at(20 * time.Second))
	p.Seen(at(29 * time.Second))
	wantNext(t, p, 29*time.Second, None, 49*time.Second)
	if _, probed := p.Probed(); probed {
		t.Error("probe still counts as unanswered after traffic")
	}
}

func TestFirstProbeIsJittered(t *testing.T) {
	for jitter, want := range map[float64]time.Duration{0: 20 * time.Second, 0.5: 15 * time.Second, 0.99: 10100 * time.Millisecond} {
		p := begin(Default(), jitter)
		wantNext(t, p, 0, None, want)
	}
}

func TestNoIntervalNoHeartbeat(t *testing.T) {
	p := begin(Policy{Timeout: time.Second}, 0)
	if a, when := p.Next(p.policy, at(time.Hour)); a != None || when != Never {
		t.Errorf("Next = %v, %v; want None, Never", a, when)
	}
}

func TestNoTimeoutProbesForEver(t *testing.T) {
	p := begin(Policy{Interval: time.Second}, 0)
	for i := time.Duration(1); i < 5; i++ {
		wantNext(t, p, i*time.Second, Probe, i*time.Second)
		p.Sent(at(i * time.Second))
		wantNext(t, p, i*time.Second, None, (i+1)*time.Second)
	}
}

// Time in which nobody listened counts neither for nor against the peer.
func TestAwayPutsOff(t *testing.T) {
	p := begin(Default(), 0)
	p.Away(3 * time.Second)
	wantNext(t, p, 22*time.Second, None, 23*time.Second)
	p.Sent(at(23 * time.Second))
	p.Away(time.Millisecond)
	wantNext(t, p, 33*time.Second, None, 33*time.Second+time.Millisecond)
	p.Seen(at(33 * time.Second))
	p.Away(time.Second)
	if _, probed := p.Probed(); probed {
		t.Error("being away made a probe of nothing")
	}
}

// A test's own clock begins in 2000, long before the program; and a policy may
// name the longest time there is.
func TestAnyClockWillDo(t *testing.T) {
	const longest = time.Duration(math.MaxInt64)
	for _, interval := range []time.Duration{20 * time.Second, longest} {
		synctest.Test(t, func(t *testing.T) {
			policy := Policy{Interval: interval, Timeout: interval}
			begun := time.Now()
			p := policy.Start(begun, 0)
			if a, when := p.Next(policy, begun); a != None || !when.Equal(begun.Add(interval)) {
				t.Errorf("Next = %v, %v; want None, %v", a, when, begun.Add(interval))
			}
			time.Sleep(10 * time.Second)
			p.Sent(time.Now())
			if since, yes := p.Probed(); !yes || since.Sub(begun) != 10*time.Second {
				t.Errorf("Probed = %v, %v; want 10s after the start", since.Sub(begun), yes)
			}
			time.Sleep(20 * time.Second)
			want := map[time.Duration]Action{20 * time.Second: Lost, longest: None}[interval]
			if a, _ := p.Next(policy, time.Now()); a != want {
				t.Errorf("Next by %v = %v; want %v", interval, a, want)
			}
		})
	}
}

func TestPulseIsSmall(t *testing.T) {
	if got := unsafe.Sizeof(Pulse{}); got > 16 {
		t.Errorf("a Pulse has %d bytes; want at most 16: there are two in each connection", got)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		policy Policy
		want   string
	}{
		{Default(), ""},
		{Policy{}, ""},
		{Policy{Interval: -1, Timeout: time.Second}, "interval: -1ns must be 0s (off) or at least 50ms"},
		{Policy{Interval: 20 * time.Millisecond}, "interval: 20ms must be 0s (off) or at least 50ms"},
		{Policy{Interval: time.Second, Timeout: time.Millisecond}, "timeout: 1ms must be 0s (never give up) or at least 50ms"},
	} {
		got := ""
		if err := c.policy.Validate(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%+v.Validate() = %q; want %q", c.policy, got, c.want)
		}
	}
}
