package proxy

import (
	"bytes"
	"testing"
	"time"
)

func TestPairEndsFramesThatDoNotEnd(t *testing.T) {
	for _, c := range []struct {
		frame []byte
		there int // bytes of it that arrive
		in    time.Duration
	}{
		{up(0x82, string(make([]byte, 100<<10))), 14, 110 * time.Second}, // 10s, and 1s for each KiB
		{up(0x82, "short"), 3, 10 * time.Second},                         // a piece of a header
		{up(0x89, "ping"), 7, 10 * time.Second},
	} {
		b := newBench(t)
		b.take(client, c.frame[:c.there], b.now)
		b.wait(c.in - 1)
		b.ends[backend].pulse.Seen(b.now)
		if b.tick(client, b.now); b.cause != "" {
			t.Fatalf("cut early: %s", b.cause)
		}
		b.wait(1)
		b.tick(client, b.now)
		if b.again(client); b.cause != "client_stalled" {
			t.Errorf("cause = %q; want client_stalled after %v", b.cause, c.in)
		}
	}
}

// A frame that does not end because its sender is not read is not its fault.
func TestPairStopsTheClockWhileItDoesNotRead(t *testing.T) {
	b := newBench(t)
	f := up(0x82, "a frame")
	b.from(client, f[:8], f[:8])
	b.pause(client, b.now)
	b.wait(15 * time.Second)
	b.ends[backend].pulse.Seen(b.now)
	if b.tick(client, b.now); b.cause != "" {
		t.Fatalf("ended by %s while it was not read", b.cause)
	}
	if at := b.due(client, b.now); at.Before(b.now.Add(time.Second)) {
		t.Errorf("next look in %v: a loop would spin", at.Sub(b.now))
	}
	b.resume(client, b.now)
	b.wait(10*time.Second - 1)
	if b.tick(client, b.now); b.cause != "" {
		t.Fatalf("ended by %s before its time", b.cause)
	}
	b.wait(1)
	b.tick(client, b.now)
	if b.again(client); b.cause != "client_stalled" {
		t.Errorf("cause = %q; want client_stalled", b.cause)
	}
}

// Each frame has its own time, also where no read ever ends between two.
func TestPairTimesEachFrameByItself(t *testing.T) {
	b := newBench(t)
	f := up(0x82, string(make([]byte, 100)))
	b.from(client, f[:50], f[:50])
	chunk := append(bytes.Clone(f[50:]), f[:50]...)
	for range 100 {
		b.wait(time.Second)
		b.ends[backend].pulse.Seen(b.now)
		b.from(client, chunk, chunk)
		if b.tick(client, b.now); b.cause != "" {
			t.Fatalf("a busy connection was ended: %s", b.cause)
		}
	}
}

// A program that was stopped finds everybody silent, with the answers unread. No
// verdict falls before they had a chance to be read.
func TestPairJudgesNobodyForItsOwnSleep(t *testing.T) {
	for _, asleep := range []time.Duration{10 * time.Second, 12 * time.Second, time.Hour} {
		b := newBench(t)
		b.wait(20 * time.Second)
		pong := b.wantPing(b.to(client), client)
		b.wait(asleep)
		if b.to(client); b.cause != "" {
			t.Fatalf("asleep %v: %s at once", asleep, b.cause)
		}
		b.from(client, pong, nil)
		b.again(backend)
		b.wait(time.Second)
		if b.to(client); b.cause != "" {
			t.Errorf("asleep %v: %s although the answer was there", asleep, b.cause)
		}
		// A doubt that was not followed up is none: the program slept again.
		b.wait(20 * time.Second)
		b.to(client)
		b.wait(10 * time.Second)
		b.to(client)
		b.wait(time.Hour)
		if b.to(client); b.cause != "" {
			t.Errorf("asleep twice: %s", b.cause)
		}
	}
}

// What a slow end takes is a sign of its life: its answer to our ping is behind
// all that it has yet to read. And it cannot answer a ping that waits for the end
// of a long frame.
func TestPairLetsSlowReadersLive(t *testing.T) {
	b := newBench(t)
	b.stall = time.Hour
	for range 100 {
		b.wait(5 * time.Second)
		b.took(client, b.now)
		b.ends[backend].pulse.Seen(b.now)
		if out := b.to(client); len(out) > 0 || b.cause != "" {
			t.Fatalf("%x to a client that is at work, cause %q", out, b.cause)
		}
	}
	long := down(0x82, string(make([]byte, 1000)))
	b.from(backend, long[:500], long[:500])
	b.wait(20 * time.Second)
	b.to(client) // the ping waits
	b.wait(40 * time.Second)
	b.ends[backend].pulse.Seen(b.now)
	if out := b.to(client); len(out) > 0 || b.cause != "" {
		t.Fatalf("%x, cause %q although no ping has gone out", out, b.cause)
	}
	out := b.take(backend, bytes.Clone(long[500:]), b.now)
	b.wantPing(out[len(long)-500:], client)
	b.wait(10 * time.Second)
	b.to(client)
	if b.again(backend); b.cause != "client_timeout" {
		t.Errorf("cause = %q; want client_timeout once it had its time to answer", b.cause)
	}
}

// An end that is held back is not pinged: with a pong that it cannot get written some,
// as gorilla, end for good. A ping that waited for a frame's end is dropped, and so is
// one that came to be needless.
func TestPairPingsNobodyItDoesNotRead(t *testing.T) {
	long := up(0x82, string(make([]byte, 1000)))
	for _, held := range []bool{true, false} {
		b := newBench(t)
		b.stall = time.Hour
		b.from(client, long[:500], long[:500])
		b.wait(20 * time.Second)
		b.ends[client].pulse.Seen(b.now)
		b.to(backend) // the ping waits
		if held {
			b.pause(backend, b.now)
		} else {
			f := down(0x82, "life")
			b.from(backend, f, f)
		}
		b.from(client, long[500:], long[500:])
		if held {
			b.wait(time.Minute)
			b.resume(backend, b.now)
		}
		b.wait(20*time.Second - 1)
		b.ends[client].pulse.Seen(b.now)
		if out := b.to(backend); len(out) > 0 || b.cause != "" {
			t.Fatalf("held %v: %x, cause %q; want no ping before it was listened to for an interval", held, out, b.cause)
		}
		b.wait(1)
		b.wantPing(b.to(backend), backend)
	}
}

// Who goes on sending after the last word is not listened to for ever.
func TestPairGoesDeaf(t *testing.T) {
	b := newBench(t)
	bye := up(0x88, "\x03\xe8")
	b.from(client, bye, bye)
	bytes, chunk := b.ends[client].bytes, make([]byte, 32<<10)
	for range maxDiscard / len(chunk) {
		b.take(client, chunk, b.now)
	}
	if b.deaf(client) || b.ends[client].bytes != bytes {
		t.Errorf("deaf %v after %d bytes, %d of them counted as relayed", b.deaf(client), maxDiscard, b.ends[client].bytes-bytes)
	}
	if b.take(client, chunk, b.now); !b.deaf(client) {
		t.Error("not deaf")
	}
}

// Only the answer to its latest ping settles what an end is owed.
func TestPairWaitsForTheAnswerToTheLatestPing(t *testing.T) {
	b := newBench(t)
	for _, payload := range []string{"first", "second"} {
		f := down(0x89, payload)
		b.from(backend, f, f)
	}
	for _, payload := range []string{"unsolicited", "first"} {
		f := up(0x8a, payload)
		b.from(client, f, f)
	}
	b.wait(20 * time.Second)
	if out := b.to(client); len(out) > 0 {
		t.Errorf("%x went out although the second ping is unanswered", out)
	}
}
