package wire

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

func seeds(f *testing.F, add func(p []byte)) {
	f.Helper()
	valid, invalid := frameVectors(f)
	for _, v := range append(valid, invalid...) {
		add(v.bytes(f))
	}
}

// Whatever is decoded and written again is decoded as the same, and what is not
// JSON has one form only.
func FuzzFrame(f *testing.F) {
	seeds(f, func(p []byte) { f.Add(p) })
	f.Fuzz(func(t *testing.T, p []byte) {
		frame, rest, err := Split(p)
		if err != nil {
			return
		}
		v, err := decode(frame)
		if err != nil {
			if !errors.Is(err, ErrBody) {
				t.Errorf("decoding %x: %v; want ErrBody", p, err)
			}
			return
		}
		again, err := encode(v)
		if err != nil {
			t.Fatalf("writing %+v: %v", v, err)
		}
		if frame.Type < TypeContinue {
			frame2, left, err := Split(again)
			if err != nil || len(left) > 0 {
				t.Fatalf("splitting %x: %v", again, err)
			}
			if v2, err := decode(frame2); err != nil || !reflect.DeepEqual(v, v2) {
				t.Errorf("%+v came back as %+v, error %v", v, v2, err)
			}
		} else if first := p[:len(p)-len(rest)]; again != nil && frame.Type != TypePad && !bytes.Equal(again, first) {
			t.Errorf("%x was written as %x", first, again)
		}
	})
}

// A stream gives the same however it is cut, and holds no more than came.
func FuzzStream(f *testing.F) {
	seeds(f, func(p []byte) { f.Add(p, uint16(1), uint16(1)) })
	f.Fuzz(func(t *testing.T, p []byte, one, two uint16) {
		want, fault := all(p)
		a := min(int(one), len(p))
		b := min(a+int(two), len(p))
		var s Splitter
		got, err := fed(&s, p[:a], p[a:b], p[b:])
		if cut := errors.Is(fault, ErrCut); cut && (err != nil || s.Held() == 0) || !cut && (err == nil) != (fault == nil) {
			t.Errorf("cut at %d and %d: error %v, %d held; want %v", a, b, err, s.Held(), fault)
		}
		if len(got) != len(want) || s.Held() > len(p) {
			t.Fatalf("cut at %d and %d: %d frames, %d bytes held; want %d", a, b, len(got), s.Held(), len(want))
		}
		for i := range got {
			if got[i].Type != want[i].Type || !bytes.Equal(got[i].Body, want[i].Body) {
				t.Errorf("cut at %d and %d: frame %d is %x; want %x", a, b, i, got[i], want[i])
			}
		}
	})
}

// A hostile sender gets no message through that is not whole, in order, from its
// pieces, and no more memory than the limit.
func FuzzAssembly(f *testing.F) {
	f.Add([]byte{1, 0, 9, 2, 0, 200})
	f.Add([]byte{1, 128, 100, 1, 0, 255, 2, 64, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		const limit = 8 << 10
		a := &Assembly{Limit: limit}
		awaited, closed := uint64(1), false
		for ; len(script) >= 3; script = script[3:] {
			number, offset, n := uint64(script[0]%8), uint64(script[1]&0x7f)*128, uint64(script[2])*16
			before := a.Ack(0)
			if script[0]&0x40 != 0 {
				taken, err := a.Close(number)
				if taken && (closed || number != awaited || before.Partial > 0) || err != nil && a.Ack(0) != before {
					t.Fatalf("close %d: taken %v, %v, where %d was awaited", number, taken, err, awaited)
				}
				if taken {
					closed, awaited = true, awaited+1
				}
				continue
			}
			d := Data{Binary: script[0]&0x20 != 0, More: script[1]&0x80 != 0, Number: number, Offset: offset, Payload: letters(number, offset, n)}
			if d.fault(0) != "" {
				continue
			}
			m, whole, err := a.Add(d)
			switch {
			case whole && (closed || number != awaited || !bytes.Equal(m, letters(number, 0, offset+n)) || len(m) > limit):
				t.Fatalf("message %d of %d bytes is whole, where %d was awaited", number, len(m), awaited)
			case err != nil && a.Ack(0) != before:
				t.Fatalf("%v, and yet something was taken", err)
			case a.Held() > limit || cap(a.held) > 2*limit+4096:
				t.Fatalf("%d bytes are held, with room for %d", a.Held(), cap(a.held))
			case whole:
				awaited++
			}
			if got := a.Ack(0); got.Next() != awaited || got.Next() == before.Next() && got.Partial < before.Partial {
				t.Fatalf("acknowledges %+v after %+v, where %d is awaited", got, before, awaited)
			}
		}
	})
}
