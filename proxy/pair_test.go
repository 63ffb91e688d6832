package proxy

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sidecar/heartbeat"
)

// A bench drives a pair by hand, with a clock of its own.
type bench struct {
	*pair
	t   *testing.T
	now time.Time
}

var mark = [8]byte{1, 2, 3, 4, 5, 6, 7, 8}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, now: time.Now()}
	policy := heartbeat.Policy{Interval: 20 * time.Second, Timeout: 10 * time.Second}
	b.pair = newPair(b.now, policy, DefaultLimits(), extensions{}, mark)
	b.report = &hearsay{}
	for s := range b.ends {
		b.ends[s].pulse = policy.Start(b.now, 0) // without jitter
	}
	return b
}

// Hearsay keeps what a test wants of a pair's reports.
type hearsay struct{ rtt *time.Duration }

func (h *hearsay) answered(_ side, rtt time.Duration) {
	if h.rtt != nil {
		*h.rtt = rtt
	}
}
func (h *hearsay) relayed(side, int, int) {}
func (h *hearsay) ended(*pair)            {}

func (b *bench) wait(d time.Duration) { b.now = b.now.Add(d) }

// from sends bytes from s and compares what goes to the other end.
func (b *bench) from(s side, in, want []byte) {
	b.t.Helper()
	if out := b.take(s, bytes.Clone(in), b.now); !bytes.Equal(out, want) {
		b.t.Errorf("%v sent %x: %x went on; want %x", s, in, out, want)
	}
}

// again is a second look, a little later.
func (b *bench) again(s side) []byte {
	b.wait(secondLook)
	return b.tick(s, b.now)
}

// to ticks for the end s and returns what goes to it.
func (b *bench) to(s side) []byte { return b.tick(s.other(), b.now) }

func up(first byte, payload string) []byte   { return rawFrame(first, payload, true) }
func down(first byte, payload string) []byte { return rawFrame(first, payload, false) }

func controlPayload(frame []byte) []byte { return appendPayload(nil, frame) }

// wantPing checks a ping of ours and returns the pong that answers it.
func (b *bench) wantPing(frame []byte, s side) (pong []byte) {
	b.t.Helper()
	if len(frame) == 0 || frame[0] != 0x89 || len(controlPayload(frame)) != 12 {
		b.t.Fatalf("to %v: %x; want a ping of ours", s, frame)
	}
	return rawFrame(0x8a, string(controlPayload(frame)), s == client)
}

func TestPairProbesBothHopsAndSwallowsAnswers(t *testing.T) {
	for _, s := range []side{client, backend} {
		b := newBench(t)
		var rtt time.Duration
		b.report = &hearsay{&rtt}
		b.wait(20 * time.Second)
		pong := b.wantPing(b.to(s), s)
		b.wait(30 * time.Millisecond)
		b.from(s, pong, nil)
		if rtt != 30*time.Millisecond {
			t.Errorf("%v: round-trip time %v; want 30ms", s, rtt)
		}
		if b.cause != "" || b.due(s.other(), b.now).Sub(b.now) != 20*time.Second {
			t.Errorf("%v: cause %q, next look in %v; want none, 20s", s, b.cause, b.due(s.other(), b.now).Sub(b.now))
		}
	}
}

func TestPairSwallowsOnlyItsOwnPongs(t *testing.T) {
	b := newBench(t)
	for _, payload := range []string{"", "hello", string(mark[:]), string(mark[:]) + "12345", "\x01\x02\x03\x04\x05\x06\x07\x090000"} {
		f := up(0x8a, payload)
		b.from(client, f, f)
	}
	// A late answer to an earlier ping is ours as well.
	b.wait(20 * time.Second)
	first := b.wantPing(b.to(client), client)
	alive := up(0x81, "alive")
	b.from(client, alive, alive)
	b.wait(20 * time.Second)
	b.wantPing(b.to(client), client)
	b.from(client, first, nil)
}

func TestPairSwallowsPongsInPieces(t *testing.T) {
	b := newBench(t)
	b.wait(20 * time.Second)
	pong := b.wantPing(b.to(client), client)
	msg := up(0x81, "around")
	all := append(append(bytes.Clone(msg), pong...), msg...)
	var out []byte
	for i := range all {
		out = append(out, b.take(client, all[i:i+1], b.now)...)
	}
	if want := append(bytes.Clone(msg), msg...); !bytes.Equal(out, want) {
		t.Errorf("%x went on; want %x", out, want)
	}
}

func TestPairHoldsItsPingWhileTheOthersIsUnanswered(t *testing.T) {
	b := newBench(t)
	theirs := down(0x89, "theirs")
	b.from(backend, theirs, theirs)
	b.wait(20 * time.Second)
	if out := b.to(client); len(out) > 0 {
		t.Fatalf("%x went to the client although the backend's ping is unanswered", out)
	}
	pong := up(0x8a, "theirs")
	b.from(client, pong, pong)
	b.wait(20 * time.Second)
	b.wantPing(b.to(client), client)

	// Silence is silence, whoever asked.
	b = newBench(t)
	b.from(backend, theirs, theirs)
	b.wait(20 * time.Second)
	b.to(client)
	b.wait(10 * time.Second)
	b.to(client)
	b.again(backend)
	if b.cause != "client_timeout" {
		t.Errorf("cause = %q; want client_timeout", b.cause)
	}
}

func TestPairPingWaitsForTheFramesEnd(t *testing.T) {
	b := newBench(t)
	b.stall = time.Minute
	long := down(0x82, string(make([]byte, 1000)))
	b.from(backend, long[:500], long[:500])
	b.wait(20 * time.Second)
	b.from(backend, long[500:600], long[500:600])
	if out := b.to(client); len(out) > 0 {
		t.Fatalf("%x went into the middle of a frame", out)
	}
	next := down(0x81, "next")
	out := b.take(backend, append(bytes.Clone(long[600:]), next...), b.now)
	if !bytes.HasPrefix(out, long[600:]) || !bytes.HasSuffix(out, next) {
		t.Fatal("the frames around the ping came to harm")
	}
	b.wantPing(out[len(long)-600:len(out)-len(next)], client)
}

func TestPairGivesUpOnSilence(t *testing.T) {
	for _, s := range []side{client, backend} {
		b := newBench(t)
		b.wait(20 * time.Second)
		b.wantPing(b.to(s), s)
		b.wait(10*time.Second - 1)
		if b.to(s); b.cause != "" {
			t.Fatalf("given up early: %s", b.cause)
		}
		b.wait(1)
		if b.to(s); b.cause != "" {
			t.Fatalf("given up at the first look: %s", b.cause)
		}
		if at := b.due(s.other(), b.now); at.Sub(b.now) != secondLook {
			t.Errorf("second look in %v; want %v", at.Sub(b.now), secondLook)
		}
		if out := b.again(s.other()); b.cause != s.String()+"_timeout" || len(out) == 0 || out[0] != 0x88 {
			t.Errorf("%v: cause %q, %x; want a timeout and a close for it", s, b.cause, out)
		}
		out := b.to(s.other())
		want := closeFrame(told(s.other(), b.cause), "", false)
		if code, _, _ := parseClose(controlPayload(out)); len(out) == 0 || out[0] != 0x88 || code != told(s.other(), b.cause) {
			t.Errorf("the other end gets %x; want %x", out, want)
		}
	}
}

// Time in which we do not read an end is not its silence, and our pings to one
// end are no sign of life of the other.
func TestPairDoesNotCountItsOwnPauses(t *testing.T) {
	b := newBench(t)
	b.pause(client, b.now)
	b.wait(25 * time.Second)
	if out := b.to(client); len(out) > 0 {
		t.Fatalf("%x went to a client that is not read", out)
	}
	b.resume(client, b.now)
	if at := b.due(backend, b.now); at.Sub(b.now) != 20*time.Second {
		t.Errorf("probe due in %v; want 20s", at.Sub(b.now))
	}
	b.wait(20 * time.Second)
	b.wantPing(b.to(client), client)
	b.pause(client, b.now) // a ping to the backend is being written
	b.wait(time.Millisecond)
	b.resume(client, b.now)
	b.wait(10 * time.Second)
	b.to(client)
	if b.again(backend); b.cause != "client_timeout" {
		t.Errorf("cause = %q; want client_timeout", b.cause)
	}
}

// Random frames, chunks, pings of either end, probes and their answers: what goes
// on is what was sent, less our pongs, with our pings only between frames.
func TestPairPassesEverythingThroughHeartbeats(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { passThrough(t, seed) })
	}
}

func passThrough(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	b := newBench(t)
	b.stall = time.Hour
	var sent, want, got [2][]byte // by the side that sends
	for range 200 {
		s := side(rng.IntN(2))
		switch rng.IntN(4) {
		case 0:
			b.wait(time.Duration(rng.IntN(9)) * time.Second)
			for s := range b.ends { // silent for long, but never too long
				b.ends[s].pulse.Seen(b.now.Add(-time.Duration(rng.IntN(25)) * time.Second))
			}
			out := b.tick(s, b.now)
			got[s] = append(got[s], out...)
		case 1:
			f := rawFrame(0x89+byte(rng.IntN(2)), "theirs", s == client)
			sent[s], want[s] = append(sent[s], f...), append(want[s], f...)
		default:
			f := rawFrame(0x82, string(make([]byte, rng.IntN(400))), s == client)
			sent[s], want[s] = append(sent[s], f...), append(want[s], f...)
		}
		n := rng.IntN(len(sent[s]) + 1)
		out := b.take(s, bytes.Clone(sent[s][:n]), b.now)
		sent[s], got[s] = sent[s][n:], append(got[s], out...)
		for s := range got {
			var answers []byte
			got[s], answers = stripOurs(t, got[s], side(s))
			sent[1-s] = append(sent[1-s], answers...)
		}
	}
	for s := range got {
		got[s] = append(got[s], b.take(side(s), sent[s], b.now)...)
		rest, _ := stripOurs(t, got[s], side(s))
		if !bytes.Equal(rest, want[s]) || b.cause != "" {
			t.Errorf("from %v: %d bytes arrived; want the %d that were sent; cause %q", side(s), len(rest), len(want[s]), b.cause)
		}
	}
}

// stripOurs takes our pings out of whole frames that arrived from s, and returns
// their answers.
func stripOurs(t *testing.T, b []byte, s side) (rest, answers []byte) {
	for i := 0; i < len(b); {
		h := b[i:]
		if len(h) < headerSize(h) || len(h) < headerSize(h)+int(payloadSize(h)) {
			return append(rest, h...), answers
		}
		n := headerSize(h) + int(payloadSize(h))
		if p := h[:n]; p[0] == 0x89 && bytes.HasPrefix(controlPayload(p), mark[:]) {
			answers = append(answers, rawFrame(0x8a, string(controlPayload(p)), s == backend)...)
		} else {
			rest = append(rest, p...)
		}
		i += n
	}
	return rest, answers
}
