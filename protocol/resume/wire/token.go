package wire

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
)

// Tokens are the credentials of one session (§5.4): at most two are valid. Whoever
// shares it between goroutines guards it. The zero value has none.
type Tokens struct {
	current, offered       token
	hasCurrent, hasOffered bool
}

// A token is 128 random bits.
type token [16]byte

func (t token) String() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// Offer is the token for a WELCOME: a new one, or that of the last WELCOME while
// the client has not used it: HELLO repeated is answered alike.
func (t *Tokens) Offer() string {
	if !t.hasOffered {
		rand.Read(t.offered[:]) // never fails (crypto/rand)
		t.hasOffered = true
	}
	return t.offered.String()
}

// Use reports whether a client that names this token may come in. The offered one
// takes the place of the current one. How long it takes says nothing of tokens.
func (t *Tokens) Use(named string) bool {
	var n token
	b, err := base64.RawURLEncoding.Strict().AppendDecode(nil, []byte(named))
	ok := err == nil && len(b) == len(n)
	copy(n[:], b)
	current := subtle.ConstantTimeCompare(n[:], t.current[:]) == 1 && t.hasCurrent && ok
	offered := subtle.ConstantTimeCompare(n[:], t.offered[:]) == 1 && t.hasOffered && ok
	if offered {
		t.current, t.hasCurrent = t.offered, true
		t.offered, t.hasOffered = token{}, false
	}
	return current || offered
}
