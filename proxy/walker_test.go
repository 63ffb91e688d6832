package proxy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// A track is all that a walker says of some bytes.
type track struct {
	passed   []byte   // as it would go on, control frames in their place
	controls [][]byte // the control frames among it
	messages int64
	fault    *fault
}

func (tr track) String() string {
	return fmt.Sprintf("%d bytes passed, %d control frames, %d messages, fault %v", len(tr.passed), len(tr.controls), tr.messages, tr.fault)
}

func (tr track) equal(o track) bool {
	return bytes.Equal(tr.passed, o.passed) && tr.messages == o.messages && tr.fault == o.fault &&
		bytes.Equal(bytes.Join(tr.controls, nil), bytes.Join(o.controls, nil))
}

// walk feeds b to a walker in chunks of the sizes that cut gives.
func walk(r rules, b []byte, stop bool, cut func(left int) int) track {
	var tr track
	var w walker
	now := time.Now()
	for len(b) > 0 && tr.fault == nil {
		chunk := bytes.Clone(b[:cut(len(b))])
		b = b[len(chunk):]
		for len(chunk) > 0 {
			n, ev, frame, err := w.next(chunk, stop, now, &r)
			switch ev {
			case walked:
				tr.passed = append(tr.passed, chunk[:n]...)
			case completed:
				tr.passed = append(tr.passed, frame...)
			case control:
				tr.passed = append(tr.passed, frame...)
				tr.controls = append(tr.controls, bytes.Clone(frame))
			}
			if chunk = chunk[n:]; err != nil {
				tr.fault = err
				break
			}
		}
	}
	tr.messages = w.messages
	return tr
}

func whole(left int) int { return left }
func single(int) int     { return 1 }

func randomly(rng *rand.Rand) func(int) int {
	return func(left int) int { return 1 + rng.IntN(min(left, 1+rng.IntN(300))) }
}

// reference is the same by the letter of RFC 6455 §5, slow and plain: it sees all
// bytes at once and knows nothing of chunks.
func reference(r rules, b []byte) track {
	var tr track
	var size, fragments, spent int64
	open := false
	for len(b) >= 2 {
		fin, rsv, op := b[0]>>7 == 1, b[0]>>4&7, b[0]&15
		masked, short := b[1]>>7 == 1, b[1]&127
		head, n := 2, uint64(short)
		if short == 126 {
			head = 4
		} else if short == 127 {
			head = 10
		}
		total := head
		if masked {
			total += 4
		}
		if len(b) < total {
			return tr
		}
		if head == 4 {
			n = uint64(binary.BigEndian.Uint16(b[2:4]))
		} else if head == 10 {
			n = binary.BigEndian.Uint64(b[2:10])
		}
		isControl := op >= 8
		if tr.fault = refFault(r, fin, rsv, op, masked, short, n, open, size, fragments); tr.fault != nil {
			return tr
		}
		if isControl || n == 0 && (!fin || op == 0) {
			if spent++; spent > floodBurst { // no time passes here
				tr.fault = errFlood
				return tr
			}
		}
		if isControl {
			total += int(n)
			if len(b) < total {
				return tr
			}
			tr.controls = append(tr.controls, b[:total])
			tr.passed = append(tr.passed, b[:total]...)
			b = b[total:]
			continue
		}
		size, fragments, open = size+int64(n), fragments+1, true
		there := min(uint64(len(b)-total), n)
		tr.passed = append(tr.passed, b[:total+int(there)]...)
		b = b[total+int(there):]
		if there == n && fin {
			tr.messages++
			size, fragments, open = 0, 0, false
		}
	}
	return tr
}

func refFault(r rules, fin bool, rsv, op byte, masked bool, short byte, n uint64, open bool, size, fragments int64) *fault {
	isControl := op >= 8
	if !r.lax {
		allowed := byte(0)
		if r.deflate && (op == 1 || op == 2) {
			allowed = 4
		}
		if rsv&^allowed != 0 {
			return errReservedBits
		}
		if op > 2 && op < 8 || op > 10 {
			return errReservedOpcode
		}
	}
	if masked != r.masked {
		if r.masked {
			return errUnmasked
		}
		return errMasked
	}
	if isControl && short > 125 {
		return errControlSize
	}
	if isControl && !fin {
		return errControlSplit
	}
	if n >= 1<<63 {
		return errHugeLength
	}
	if short == 126 && n < 126 || short == 127 && n < 65536 {
		return errLength
	}
	if isControl {
		return nil
	}
	if op == 0 && !open {
		return errContinuation
	}
	if op != 0 && open {
		return errInterleaved
	}
	if int64(n) > r.limit-size {
		return errTooBig
	}
	if fragments >= freeFragments+size/fragmentSize {
		return errFragments
	}
	return nil
}

func FuzzWalker(f *testing.F) {
	f.Add([]byte("\x81\x05Hello"), uint8(0), uint64(1))                                // RFC 6455 §5.7
	f.Add([]byte("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), uint8(1), uint64(2)) // masked
	f.Add([]byte("\x01\x03Hel\x80\x02lo"), uint8(0), uint64(3))                        // fragmented
	f.Add([]byte("\x89\x05Hello\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), uint8(0), uint64(4))
	f.Add([]byte("\x82\x7e\x01\x00"+string(make([]byte, 256))+"\x88\x02\x03\xe8"), uint8(0), uint64(5))
	f.Add([]byte("\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"), uint8(2), uint64(6)) // RFC 7692 §7.2.3.1
	f.Add([]byte("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"), uint8(0), uint64(7))
	f.Add(bytes.Repeat([]byte("\x00\x00"), 300), uint8(4), uint64(8))
	f.Fuzz(func(t *testing.T, b []byte, kind uint8, seed uint64) {
		r := rules{masked: kind&1 != 0, deflate: kind&2 != 0, lax: kind&4 != 0, limit: 1 << 12}
		want := reference(r, b)
		rng := rand.New(rand.NewPCG(seed, seed))
		for name, cut := range map[string]func(int) int{"whole": whole, "bytes": single, "random": randomly(rng)} {
			for _, stop := range []bool{false, true} {
				if got := walk(r, b, stop, cut); !got.equal(want) {
					t.Errorf("%s, stop %v: %v; want %v", name, stop, got, want)
				}
			}
		}
	})
}

// Random well-formed streams, with a fault planted in some, in every chunking.
func TestWalkerAgreesWithReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	faults := map[*fault]int{}
	for range 1000 {
		r := rules{masked: rng.IntN(2) == 0, deflate: rng.IntN(2) == 0, lax: rng.IntN(8) == 0, limit: 1 << 17}
		b := randomFrames(rng, r)
		want := reference(r, b)
		faults[want.fault]++
		for _, cut := range []func(int) int{whole, single, randomly(rng)} {
			if got := walk(r, b, rng.IntN(2) == 0, cut); !got.equal(want) {
				t.Fatalf("%v; want %v", got, want)
			}
		}
	}
	for _, f := range []*fault{nil, errReservedBits, errReservedOpcode, errUnmasked, errMasked, errControlSize,
		errControlSplit, errContinuation, errInterleaved, errLength, errHugeLength, errTooBig, errFlood} {
		if faults[f] == 0 {
			t.Errorf("no stream had fault %v: the test proves nothing about it", f)
		}
	}
}

func randomFrames(rng *rand.Rand, r rules) []byte {
	var b []byte
	open := false
	for range rng.IntN(12) {
		op, fin, n := byte(1+rng.IntN(2)), rng.IntN(3) > 0, rng.IntN(300)
		switch {
		case rng.IntN(4) == 0:
			op, fin, n = byte(8+rng.IntN(3)), true, rng.IntN(126)
		case open:
			op = 0
		}
		if op < 8 {
			open = !fin
			if rng.IntN(10) == 0 {
				n = 1 << (6 + rng.IntN(12))
			}
		}
		first := op
		if fin {
			first |= 0x80
		}
		b = append(b, rawFrame(first, string(make([]byte, n)), r.masked)...)
	}
	if rng.IntN(2) == 0 {
		b = append(b, plantFault(rng, r)...)
	}
	return b
}

// plantFault is something that is wrong at least in most places.
func plantFault(rng *rand.Rand, r rules) []byte {
	mask := byte(0)
	if r.masked {
		mask = 0x80
	}
	long := rawFrame(0x82, string(make([]byte, 1<<17+1)), r.masked)
	all := [][]byte{
		rawFrame(0x91, "x", r.masked), rawFrame(0xb2, "x", r.masked), rawFrame(0xc9, "x", r.masked),
		rawFrame(0x83, "x", r.masked), rawFrame(0x8b, "x", r.masked), rawFrame(0x81, "x", !r.masked),
		rawFrame(0x89, string(make([]byte, 126)), r.masked), rawFrame(0x09, "x", r.masked),
		rawFrame(0x80, "x", r.masked), append(rawFrame(0x01, "x", r.masked), rawFrame(0x81, "x", r.masked)...),
		append([]byte{0x81, mask | 126, 0, 125}, make([]byte, 200)...),
		append([]byte{0x81, mask | 127, 0, 0, 0, 0, 0, 0, 1, 0}, make([]byte, 300)...),
		append([]byte{0x81, mask | 127, 0x80}, make([]byte, 40)...),
		long, bytes.Repeat(rawFrame(0x89, "", r.masked), floodBurst+1),
	}
	return all[rng.IntN(len(all))]
}

// A stream of small frames in one read is walked in one go: one read, one write.
func TestWalkerTakesManyFramesAtOnce(t *testing.T) {
	b := bytes.Repeat(rawFrame(0x81, "sixteen bytes...", true), 1000)
	var w walker
	n, ev, _, err := w.next(b, false, time.Now(), &rules{masked: true, limit: 1 << 20})
	if n != len(b) || ev != walked || err != nil || w.messages != 1000 {
		t.Errorf("next = %d of %d, %v, %v, %d messages; want all in one go", n, len(b), ev, err, w.messages)
	}
}

func TestFloodIsMeteredByTime(t *testing.T) {
	var f flood
	now := time.Now()
	for i := range floodBurst {
		if !f.spend(now) {
			t.Fatalf("frame %d of the burst refused", i)
		}
	}
	if f.spend(now) {
		t.Error("a frame beyond the burst passed")
	}
	if now = now.Add(3 * floodCost); !f.spend(now) {
		t.Error("a frame refused although time has passed")
	}
}

func BenchmarkWalk(b *testing.B) {
	for _, size := range []int{16, 64, 1024, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			frame := rawFrame(0x82, string(make([]byte, size)), true)
			chunk := bytes.Repeat(frame, max(1, chunkSize/len(frame)))
			w, r := walker{}, rules{masked: true, limit: 1 << 20}
			now := time.Now()
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			for b.Loop() {
				if n, _, _, _ := w.next(chunk, false, now, &r); n != len(chunk) {
					b.Fatal("not walked")
				}
			}
		})
	}
}
