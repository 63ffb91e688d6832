package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"
)

// NewID makes a session's id: the owner's tag and at least 128 random bits, in
// characters that may stand in a URL or a cookie as they are, if the owner's may.
// Its length is not promised.
func NewID(owner string) string { return owner + rand.Text() }

// Public is the name by which logs, metrics and backends know the session of an
// id: a digest, from which nobody finds the id.
func Public(id string) string {
	sum := sha256.Sum256([]byte("sidecar session " + id))
	return base32.StdEncoding.EncodeToString(sum[:15])
}

// An Identity stands for the headers and cookies that a session is bound to.
type Identity [sha256.Size]byte

// Identify is the identity of a request. header returns all values of a header,
// cookie those of a cookie; what is missing is not what is empty.
func (s Settings) Identify(header, cookie func(name string) []string) (who Identity) {
	sum := sha256.New()
	for _, name := range s.Identity {
		of := header
		if bare, ok := strings.CutPrefix(name, "cookie:"); ok {
			name, of = bare, cookie
		}
		values := of(name)
		sum.Write(binary.AppendUvarint(nil, uint64(len(values))))
		for _, v := range values { // lengths first, or "a", "b" would be "ab", ""
			sum.Write(append(binary.AppendUvarint(nil, uint64(len(v))), v...))
		}
	}
	sum.Sum(who[:0])
	return who
}
