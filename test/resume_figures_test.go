package test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sidecar/client/resumable"
	"sidecar/test/faultlink"
)

// measures leaves a test out unless it measures the program as it is released.
func measures(t testing.TB) {
	t.Helper()
	long(t)
	if raceDetector {
		t.Skip("measured without the race detector")
	}
}

// percentile of durations, which it sorts.
func percentile(of []time.Duration, p int) time.Duration {
	slices.Sort(of)
	return of[min(len(of)*p/100, len(of)-1)]
}

// How long a session is silent around a cut of its network: from the cut to the first
// message that was sent behind it, in each direction. A round trip here takes next to
// nothing, so this is what the programs take.
func TestResumeFiguresAfterACut(t *testing.T) {
	measures(t)
	const cuts = 200
	for _, k := range kinds {
		for how, name := range map[faultlink.Ending]string{faultlink.Reset: "RST", faultlink.FIN: "FIN"} {
			t.Run(k.name+" "+name, func(t *testing.T) {
				r, _ := newReleasedRig(t, "")
				j := r.roam(t, "s", r.front.Addr(), k)
				var down, up []time.Duration
				for range cuts {
					j.exchange(t, 5, 100)
					j.exchange(t, 5, 16<<10) // so much that the cut is not one of a bad network, which costs pauses
					r.front.End(faultlink.Both, how)
					d, u := j.first(t)
					down, up = append(down, d), append(up, u)
				}
				for dir, all := range map[string][]time.Duration{"down": down, "up": up} {
					p50, p99 := percentile(all, 50), percentile(all, 99)
					fmt.Printf("after a cut: %-9s %s %-4s p50 %8.2f ms  p99 %8.2f ms  (%d cuts)\n", k.name, name, dir, ms(p50), ms(p99), len(all))
					if p99 > slack {
						t.Errorf("p99 %s is %v; want at most %v", dir, p99, slack)
					}
				}
				j.finish(t)
				r.wantClean(t)
			})
		}
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// first sends one message each way, and says when each had come.
func (j *journey) first(t testing.TB) (down, up time.Duration) {
	t.Helper()
	start := time.Now()
	came := j.client.expect(j.client.h.Received(j.client.reads) + 1)
	went := j.backend.expect(j.backend.h.Received(j.backend.reads) + 1)
	if err := j.client.sendOne(resumable.Text, 100); err != nil {
		t.Fatal(err)
	}
	if err := j.backend.sendOne(1, 100); err != nil {
		t.Fatal(err)
	}
	for came != nil || went != nil {
		select {
		case <-came:
			down, came = time.Since(start), nil
		case <-went:
			up, went = time.Since(start), nil
		case <-j.client.ended:
			t.Fatalf("%s ended with %v", j.id, j.client.err)
		}
	}
	return down, up
}

// newReleasedRig is a rig around the program as it is released.
func newReleasedRig(t testing.TB, settings string) (*rig, *program) {
	t.Helper()
	var p *program
	r := rigAround(t, func(upstream string) string {
		p = launch(t, must(t, released), upstream, settings)
		return p.addr
	})
	return r, p
}

// How long a session takes to open where WebSocket is blocked, and where it is not; with
// a memory of the host, as a program's second Dial has it, and without.
func TestResumeFiguresOfOpening(t *testing.T) {
	measures(t)
	const times = 50
	for _, c := range []struct {
		name    string
		upgrade func(m *meddler) func()
	}{
		{"open", func(m *meddler) func() { return func() { m.upgrade = nil } }},
		{"refused", func(m *meddler) func() { return func() { m.upgrade = refuse } }},
		{"killed", func(m *meddler) func() { return func() { m.upgrade = m.kill(0) } }},
		{"hanging", func(m *meddler) func() { return func() { m.upgrade = hang } }},
	} {
		r, _ := newReleasedRig(t, "")
		m := meddle(t, r.addr)
		c.upgrade(m)()
		for _, known := range []bool{false, true} {
			memory := new(resumable.Memory)
			var all []time.Duration
			for i := range times {
				if !known {
					memory = new(resumable.Memory)
				}
				start := time.Now()
				j, err := r.embark(fmt.Sprintf("%v%d", known, i), m.addr, kinds[3], resumable.Options{Memory: memory})
				if err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				all = append(all, time.Since(start))
				j.exchange(t, 1, 100)
				if known && i == 0 {
					lives := time.NewTimer(6 * time.Second) // what hangs is given up after 5 s
					<-lives.C
				}
				j.finish(t)
			}
			if known {
				all = all[1:] // the first learnt it
			}
			fmt.Printf("to open, WebSocket %-8s memory %-5v p50 %8.2f ms  p99 %8.2f ms  (%d times)\n",
				c.name, known, ms(percentile(all, 50)), ms(percentile(all, 99)), len(all))
		}
		r.wantClean(t)
	}
}
