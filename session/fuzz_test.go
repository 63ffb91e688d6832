package session

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

// script is a fuzzer's bytes as chance. Where they end, so does it.
type script struct {
	b []byte
}

func (s *script) IntN(n int) int {
	if len(s.b) == 0 {
		return 0
	}
	v := s.b[0]
	s.b = s.b[1:]
	return int(v) % n
}

// FuzzSession makes the calls that the bytes name, of sessions and of their
// models: whatever is called with whatever numbers, they are alike.
func FuzzSession(f *testing.F) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 0))
		b := make([]byte, 100<<(seed%4))
		for i := range b {
			b[i] = byte(rng.IntN(256))
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		synctest.Test(t, func(t *testing.T) {
			if w := drive(&script{b}, min(len(b)/3, 300), fault{}); w.err != nil {
				t.Fatal(w.story())
			}
		})
	})
}
