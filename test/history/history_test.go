package history

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestMessageRoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, 20, 100, 65_536} {
		s := Stream{"s17", Down}
		b := Message(s, 42, size)
		got, n, err := Parse(b)
		if err != nil || got != s || n != 42 {
			t.Errorf("size %d: %v, %d, %v", size, got, n, err)
		}
		if size >= 100 && len(b) != size {
			t.Errorf("made %d bytes; want %d", len(b), size)
		}
	}
	if a, b := Message(Stream{"a", Up}, 1, 100), Message(Stream{"a", Up}, 2, 100); bytes.Equal(a[10:80], b[10:80]) {
		t.Error("two messages have the same filler")
	}
}

func TestEveryChangedByteIsSeen(t *testing.T) {
	good := Message(Stream{"s1", Up}, 3, 60)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if s, n, err := Parse(bad); err == nil {
			t.Errorf("byte %d changed, read as %v %d", i, s, n)
		}
		if s, n, err := Parse(good[:i]); err == nil {
			t.Errorf("cut to %d bytes, read as %v %d", i, s, n)
		}
		if s, n, err := Parse(good[i+1:]); err == nil {
			t.Errorf("without its first %d bytes, read as %v %d", i+1, s, n)
		}
	}
}

// judge sends n messages on one stream, lets plant change what arrives, and checks.
func judge(n int, plant func(msgs [][]byte) [][]byte, told bool) Report {
	var h History
	s := Stream{"s", Up}
	var msgs [][]byte
	for range n {
		msgs = append(msgs, h.Send(s, 50))
	}
	for _, m := range plant(msgs) {
		h.Receive(s, m)
	}
	if told {
		h.Told("s", "reset")
	}
	return h.Check()
}

func TestPlantedFaults(t *testing.T) {
	mangle := func(b []byte) []byte { return append([]byte("x"), b[1:]...) }
	for _, c := range []struct {
		name  string
		plant func([][]byte) [][]byte
		told  bool
		want  Report
	}{
		{"nothing", func(m [][]byte) [][]byte { return m }, false, Report{}},
		{"lost in the middle", func(m [][]byte) [][]byte { return slices.Delete(m, 3, 5) }, false, Report{Lost: 2, Silent: 2, Gaps: 2}},
		{"lost at the end", func(m [][]byte) [][]byte { return m[:7] }, false, Report{Lost: 3, Silent: 3}},
		{"lost at the end, told", func(m [][]byte) [][]byte { return m[:7] }, true, Report{Lost: 3}},
		{"all lost", func(m [][]byte) [][]byte { return nil }, false, Report{Lost: 10, Silent: 10}},
		{"duplicated", func(m [][]byte) [][]byte { return append(m, m[2], m[9]) }, false, Report{Duplicated: 2}},
		{"swapped", func(m [][]byte) [][]byte { m[4], m[5] = m[5], m[4]; return m }, false, Report{Reordered: 1}},
		{"first comes last", func(m [][]byte) [][]byte { return append(m[1:], m[0]) }, false, Report{Reordered: 1}},
		{"foreign session", func(m [][]byte) [][]byte { return append(m, Message(Stream{"t", Up}, 1, 50)) }, false, Report{Foreign: 1}},
		{"foreign direction", func(m [][]byte) [][]byte { return append(m, Message(Stream{"s", Down}, 1, 50)) }, false, Report{Foreign: 1}},
		{"never sent", func(m [][]byte) [][]byte { return append(m, Message(Stream{"s", Up}, 11, 50)) }, false, Report{Foreign: 1}},
		{"negative number", func(m [][]byte) [][]byte { return append(m, Message(Stream{"s", Up}, -1, 50)) }, false, Report{Foreign: 1}},
		{"corrupt", func(m [][]byte) [][]byte { m[3] = mangle(m[3]); return m }, false, Report{Corrupt: 1, Lost: 1, Silent: 1, Gaps: 1}},
		{"half a message", func(m [][]byte) [][]byte { return append(m, m[3][:20]) }, false, Report{Corrupt: 1}},
	} {
		c.want.Sent = 10
		if got := judge(10, c.plant, c.told); got != c.want {
			t.Errorf("%s: got %v; want %v", c.name, got, c.want)
		}
	}
}

func TestMessagesNobodySentAreForeign(t *testing.T) {
	var h History
	h.Receive(Stream{"s", Up}, Message(Stream{"s", Up}, 1, 50))
	h.Receive(Stream{"s", Up}, []byte("garbage"))
	if got, want := h.Check(), (Report{Foreign: 1, Corrupt: 1}); got != want {
		t.Errorf("got %v; want %v", got, want)
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		r             Report
		clean, honest bool
	}{
		{Report{Sent: 9}, true, true},
		{Report{Sent: 9, Lost: 2}, false, true},
		{Report{Sent: 9, Lost: 2, Silent: 2}, false, false},
		{Report{Sent: 9, Lost: 2, Gaps: 1}, false, false},
		{Report{Sent: 9, Duplicated: 1}, false, false},
		{Report{Sent: 9, Reordered: 1}, false, false},
		{Report{Sent: 9, Foreign: 1}, false, false},
		{Report{Sent: 9, Corrupt: 1}, false, false},
	} {
		if c.r.Clean() != c.clean || c.r.Honest() != c.honest {
			t.Errorf("%v: clean %v, honest %v; want %v, %v", c.r, c.r.Clean(), c.r.Honest(), c.clean, c.honest)
		}
	}
}

// Random numbers of every kind of fault are planted into many streams; the
// checker must find as many as were planted. Faults stand apart, so that each
// has one meaning.
func TestRandomPlantings(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for round := range 50 {
		var h History
		var want Report
		for i := range 1 + rng.IntN(5) {
			s := Stream{fmt.Sprintf("s%d", i), []Dir{Up, Down}[rng.IntN(2)]}
			told := rng.IntN(2) == 0
			if told {
				h.Told(s.Session, "1001")
			}
			plantStream(&h, &want, rng, s, told)
		}
		if got := h.Check(); got != want {
			t.Fatalf("seed %d round %d: got %v; want %v", seed, round, got, want)
		}
	}
}

// plantStream sends blocks of four messages, with at most one fault in each.
func plantStream(h *History, want *Report, rng *rand.Rand, s Stream, told bool) {
	lose := func(gaps int) {
		want.Lost++
		want.Gaps += gaps
		if !told {
			want.Silent++
		}
	}
	for range 5 + rng.IntN(30) {
		var m [][]byte
		for range 4 {
			m = append(m, h.Send(s, 30+rng.IntN(500)))
		}
		want.Sent += 4
		switch rng.IntN(6) {
		case 0:
			m = slices.Delete(m, 1, 2)
			lose(1)
		case 1:
			m = append(m, m[rng.IntN(4)])
			want.Duplicated++
		case 2:
			m[1], m[2] = m[2], m[1]
			want.Reordered++
		case 3:
			m = append(m, Message(Stream{"other", s.Dir}, 1, 50))
			want.Foreign++
		case 4:
			m[2] = bytes.Clone(m[2])
			m[2][rng.IntN(len(m[2]))] ^= 0x20
			want.Corrupt++
			lose(1)
		}
		for _, b := range m {
			h.Receive(s, b)
		}
	}
}
