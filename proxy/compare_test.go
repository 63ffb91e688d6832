package proxy

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
)

// A course is what came of one random schedule: what each end got before the
// last act, byte for byte, then frame by frame (masks differ), and the cause.
type course struct {
	before [2][]byte
	after  [2]string
	cause  string
}

// Each relay is the other's oracle: whatever is sent, in whatever pieces, and
// however it ends, both must do the same.
func TestBothRelaysDoTheSame(t *testing.T) {
	g := startGroup(t)
	seeds, base := 120, chance(t)
	if os.Getenv("E2E_LONG") != "" && !raceDetector {
		seeds = 20_000
	}
	causes := map[string]int{}
	venues := make(chan [2]*venue, 12) // most of a schedule is waiting
	for range cap(venues) {
		limits := Limits{Message: 1 << 20}
		venues <- [2]*venue{newVenue(t, setup{limits: limits}), newVenue(t, setup{limits: limits, loops: g})}
	}
	for done := 0; done < seeds; done += 120 {
		// In parts, so that each part's sockets are closed before the next.
		t.Run(fmt.Sprint(done), func(t *testing.T) { compareMany(t, base+uint64(done), min(120, seeds-done), venues, causes) })
	}
	for _, c := range []string{"client_close", "backend_close", "client_gone", "backend_gone", "client_violation", "backend_violation"} {
		if causes[c] == 0 {
			t.Errorf("no schedule ended by %s: they prove nothing about it", c)
		}
	}
	t.Logf("%d schedules from seed %d on: %v", seeds, base, causes)
}

// compareMany runs n schedules, and counts how they ended.
func compareMany(t *testing.T, seed uint64, n int, venues chan [2]*venue, causes map[string]int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range uint64(n) {
		on := <-venues
		wg.Go(func() {
			defer func() { venues <- on }()
			cause := compare(t, seed+i, on)
			mu.Lock()
			defer mu.Unlock()
			causes[cause]++
		})
	}
	wg.Wait()
}

// compare runs one schedule on both, and returns how it ended.
func compare(t *testing.T, seed uint64, on [2]*venue) string {
	rng := rand.New(rand.NewPCG(seed, 7))
	sent := [2][]byte{streamOf(rng, true), streamOf(rng, false)}
	a, b := runCourse(t, seed, sent, on[0]), runCourse(t, seed, sent, on[1])
	for s := range a.before {
		if !bytes.Equal(a.before[s], sent[1-s]) || !bytes.Equal(b.before[s], sent[1-s]) {
			t.Errorf("seed %d: what %v got is not what was sent", seed, side(s))
		}
	}
	if a.after != b.after || a.cause != b.cause {
		t.Errorf("seed %d: ends: %q by %s; %q by %s", seed, a.after, a.cause, b.after, b.cause)
	}
	return a.cause
}

func runCourse(t *testing.T, seed uint64, sent [2][]byte, on *venue) course {
	w := on.connect(t)
	ends := [2]*peer{w.client, w.backend}
	var c course
	var wg sync.WaitGroup
	for s, p := range ends {
		cuts := rand.New(rand.NewPCG(seed, uint64(s)))
		wg.Go(func() { sendInPieces(p, sent[s], cuts) })
		wg.Go(func() {
			c.before[s] = make([]byte, len(sent[1-s]))
			if _, err := io.ReadFull(p.r, c.before[s]); err != nil {
				t.Errorf("seed %d: %v: %v", seed, side(s), err)
			}
		})
	}
	wg.Wait()
	lastAct(rand.New(rand.NewPCG(seed, 8)), ends)
	for s, p := range ends {
		wg.Go(func() { c.after[s] = p.rest() })
	}
	wg.Wait()
	line := w.ended(t)
	_, c.cause, _ = strings.Cut(line, `"cause":"`)
	c.cause, _, _ = strings.Cut(c.cause, `"`)
	return c
}

// streamOf is some whole messages, some of them large, with pings among them.
func streamOf(rng *rand.Rand, masked bool) []byte {
	frame := func(first byte, payload string) []byte { return rawFrame(first, payload, masked) }
	var b []byte
	for range rng.IntN(20) {
		n := rng.IntN(200)
		if rng.IntN(6) == 0 {
			n = rng.IntN(200 << 10)
		}
		payload := make([]byte, n)
		for i := range payload {
			payload[i] = byte(rng.Uint32())
		}
		switch rng.IntN(4) {
		case 0:
			b = append(b, frame(0x89+byte(rng.IntN(2)), string(payload[:min(n, 125)]))...)
		case 1:
			b = append(b, frame(0x02, string(payload[:n/2]))...)
			b = append(b, frame(0x89, "between")...)
			b = append(b, frame(0x80, string(payload[n/2:]))...)
		default:
			b = append(b, frame(0x82, string(payload))...)
		}
	}
	return b
}

func sendInPieces(p *peer, b []byte, rng *rand.Rand) {
	for len(b) > 0 {
		n := min(len(b), 1+rng.IntN(1<<rng.IntN(17)))
		p.send(b[:n])
		b = b[n:]
	}
}

// lastAct ends the connection one way or another.
func lastAct(rng *rand.Rand, ends [2]*peer) {
	p := ends[rng.IntN(2)]
	switch rng.IntN(6) {
	case 0:
		p.send(p.frame(0x88, "\x0f\xa1bye"))
	case 1:
		p.send(p.frame(0x88, ""))
	case 2:
		p.conn.CloseWrite()
	case 3:
		p.send(p.frame(0x82, "half of it")[:9])
		p.conn.CloseWrite()
	case 4:
		p.send(append(p.frame(0x81, "good"), p.frame(0x83, "bad")...))
	case 5:
		p.send(append(p.frame(0x88, "\x03\xe8"), p.frame(0x81, "late")...))
	}
}

// rest reads to the end, answering a close and hanging up as an end should.
func (p *peer) rest() string {
	var s strings.Builder
	for {
		g, err := p.next()
		if err != nil {
			fmt.Fprintf(&s, "%v", err)
			break
		}
		fmt.Fprintf(&s, "%x %q; ", g.first, g.payload)
		if g.first == 0x88 {
			p.conn.Write(p.frame(0x88, g.payload[:min(2, len(g.payload))]))
		}
	}
	p.conn.Close()
	return s.String()
}
