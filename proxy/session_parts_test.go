package proxy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// What has begun of a frame while its reader is parked has its time as well.
func TestParkedHalfFrameIsGivenUp(t *testing.T) {
	for name, half := range map[string][2]string{
		"header": {"\x81", "\x81"},
		"ping":   {"\x89\x85\x01\x02\x03\x04h", "\x89\x05h"},
	} {
		for i, whose := range []string{"client", "backend"} {
			t.Run(whose+"'s "+name, func(t *testing.T) {
				t.Parallel() // each takes the time of a frame
				h, front, back := open(t, "/", func(h *hall) {
					h.carriers.Limits.WriteTimeout, h.dialer.Limits.WriteTimeout = 2*time.Second, 2*time.Second
				})
				h.wantParked(2)
				from := [2]*peer{front, back}[i]
				from.send([]byte(half[i]))
				h.wantParked(2)
				from.wantClose(codePolicy)
				if i == 0 {
					h.wantGone(codeAbnormal)
				} else {
					front.wantClose(codeInternal)
				}
			})
		}
	}
}

// shred sends a text in frames, with pings between them, in parts that are cut anywhere
// and come with gaps about as long as a pause.
func (p *peer) shred(rng *rand.Rand, text string) {
	var b []byte
	op := byte(opText)
	for len(text) > 0 {
		if rng.IntN(3) == 0 {
			b = append(b, p.frame(0x80|opPing, "now")...)
		}
		n := 1 + rng.IntN(len(text))
		fin := byte(0)
		if n == len(text) {
			fin = 0x80
		}
		b = append(b, p.frame(fin|op, text[:n])...)
		text, op = text[n:], 0
	}
	for len(b) > 0 {
		n := min(len(b), 1+rng.IntN(1+rng.IntN(400)))
		p.send(b[:n])
		b = b[n:]
		<-time.After(time.Duration(rng.IntN(4000)) * time.Microsecond)
	}
}

// crowd has each end of some sessions say count texts at once, as say does it, and wants each
// at the other end in its place.
func crowd(t *testing.T, count int, text func(k int) string, say func(from *peer, rng *rand.Rand, text string)) {
	d := &stageDoor{t: t, ln: listen(t)}
	h := newHall(t, d.url(), nil)
	var all sync.WaitGroup
	for n := range uint64(8) {
		accepted := make(chan *peer, 1)
		go func() { accepted <- d.accept() }()
		front := h.client("/")
		back := <-accepted
		for i, way := range [][2]*peer{{front, back}, {back, front}} {
			from, to := way[0], way[1]
			all.Go(func() {
				rng := rand.New(rand.NewPCG(n, uint64(i)))
				for k := range count {
					say(from, rng, text(k))
				}
			})
			all.Go(func() {
				for k := range count {
					if got := to.message(); got != text(k) {
						t.Errorf("got %q; want message %d", got, k)
						return
					}
				}
			})
		}
	}
	all.Wait()
}

// Frames are cut, anywhere, by whatever parks and wakes their reader.
func TestParkingAnywhereInFrames(t *testing.T) {
	text := func(k int) string { return fmt.Sprint(k, " ") + strings.Repeat("x", k*k%500) }
	crowd(t, 80, text, func(from *peer, rng *rand.Rand, text string) { from.shred(rng, text) })
}
