package wire

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
)

// all are the frames of one body.
func all(p []byte) (frames []Frame, err error) {
	for len(p) > 0 {
		var f Frame
		if f, p, err = Split(p); err != nil {
			return frames, err
		}
		frames = append(frames, f)
	}
	return frames, nil
}

// fed are the frames of a stream that comes in these pieces, each overwritten once
// it was taken, as a reader's buffer is.
func fed(s *Splitter, pieces ...[]byte) (frames []Frame, err error) {
	for _, p := range pieces {
		p = bytes.Clone(p)
		for rest := p; ; {
			f, left, ok, err := s.Next(rest)
			if err != nil {
				return frames, err
			}
			if !ok {
				break
			}
			frames = append(frames, Frame{f.Type, bytes.Clone(f.Body)})
			rest = left
		}
		for i := range p {
			p[i] = 0xff
		}
	}
	return frames, nil
}

func TestStreamCutAnywhere(t *testing.T) {
	valid, _ := frameVectors(t)
	var stream []byte
	for _, v := range valid {
		if v.Fill < 1000 && len(v.Hex) < 1000 {
			stream = append(stream, v.bytes(t)...)
		}
	}
	want, err := all(stream)
	if err != nil || len(want) < 40 {
		t.Fatalf("%d frames, error %v", len(want), err)
	}
	for cut := range len(stream) + 1 {
		for _, second := range []int{cut, min(cut+1, len(stream)), min(cut+7, len(stream)), len(stream)} {
			var s Splitter
			got, err := fed(&s, stream[:cut], stream[cut:second], stream[second:])
			if err != nil || !reflect.DeepEqual(got, want) || s.Held() != 0 {
				t.Fatalf("cut at %d and %d: %d frames, %d bytes held, error %v; want %d frames", cut, second, len(got), s.Held(), err, len(want))
			}
		}
	}
	var s Splitter
	if got, err := fed(&s, slices.Collect(slices.Chunk(stream, 1))...); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("byte by byte: %d frames, error %v; want %d", len(got), err, len(want))
	}
}

// Each vector, valid or not, must come to the same by one piece and by single bytes.
func TestStreamFindsTheSameFaults(t *testing.T) {
	valid, invalid := frameVectors(t)
	for _, v := range append(valid, invalid...) {
		p := v.bytes(t)
		want, fault := all(p)
		var s Splitter
		got, err := fed(&s, slices.Collect(slices.Chunk(p, 1))...)
		if errors.Is(fault, ErrCut) && err == nil {
			err = fault // a stream may go on
		}
		if len(got) != len(want) || !errors.Is(err, errors.Unwrap(fault)) && !errors.Is(err, fault) {
			t.Errorf("%s: %d frames, error %v; want %d, %v", v.Name, len(got), err, len(want), fault)
		}
	}
}

// What is announced and does not come takes no memory.
func TestStreamHoldsOnlyWhatCame(t *testing.T) {
	for _, announced := range []string{"07918004", "07808080808020", "07ffffffffffffff0f"} {
		var s Splitter
		p := unhex(t, announced)
		s.Next(p)
		s.Next([]byte{0})
		if cap(s.kept) > 64 {
			t.Errorf("%s: room for %d bytes", announced, cap(s.kept))
		}
	}
	var s Splitter
	large := Data{Number: 1, Payload: make([]byte, MaxPayload)}.Append(nil)
	if _, err := fed(&s, large[:100], large[100:], []byte{0x0a}, []byte{0}); err != nil {
		t.Fatal(err)
	}
	if cap(s.kept) > keptRoom {
		t.Errorf("behind a large frame there is room for %d bytes; want at most %d", cap(s.kept), keptRoom)
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	payload, buf := make([]byte, 200), make([]byte, 0, 1<<10)
	var s Splitter
	var a Assembly
	number := uint64(0)
	step := func() {
		number++
		out, _, _ := AppendMessage(buf[:0], number, false, payload, 0, MaxBody)
		out = Ack{Received: number}.Append(out)
		for _, p := range [][]byte{out[:9], out[9:]} {
			for {
				f, rest, ok, err := s.Next(p)
				if err != nil {
					t.Fatal(err)
				}
				if p = rest; !ok {
					break
				}
				if f.Type == TypeAck {
					ParseAck(f.Body)
					continue
				}
				d, err := ParseData(f.Body)
				if _, whole, _ := a.Add(d); err != nil || !whole {
					t.Fatalf("message %d is not whole: %v", number, err)
				}
			}
		}
	}
	if got := testing.AllocsPerRun(100, step); got != 0 {
		t.Errorf("%v allocations a message; want 0", got)
	}
}
