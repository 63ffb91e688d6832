package wire

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// NewAttempt makes the secret that all HELLOs of one client object share: 128
// random bits.
func NewAttempt() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// A Key is what an opening is found by (§5.3).
type Key [sha256.Size]byte

// KeyOf is the key of the opening that h begins or joins: its attempt and
// protocols, by a request of that identity and origin for that target. Whatever
// differs makes another opening, so that nobody joins one that is not their own. It
// is a digest: a table of them holds no secret, and finding in it takes the same
// time whatever is asked for.
func KeyOf(h *Hello, who [32]byte, origin, target string) (k Key) {
	sum := sha256.New()
	write := func(s string) { // lengths first, or "a", "b" would be "ab", ""
		sum.Write(append(binary.AppendUvarint(nil, uint64(len(s))), s...))
	}
	for _, s := range append([]string{h.Attempt, string(who[:]), origin, target}, h.Protocols...) {
		write(s)
	}
	sum.Sum(k[:0])
	return k
}
