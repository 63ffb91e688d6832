package wire

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestTokens(t *testing.T) {
	var s Tokens
	use := func(name, token string, want bool) {
		t.Helper()
		if got := s.Use(token); got != want {
			t.Errorf("%s: comes in %v; want %v", name, got, want)
		}
	}
	nothing := token{}
	use("before there is one", nothing.String(), false)
	first := s.Offer()
	if again := s.Offer(); again != first {
		t.Errorf("a HELLO repeated gets %q; want %q as before", again, first)
	}
	use("zeroes while one is offered", nothing.String(), false)
	use("the first", first, true)
	use("the first again", first, true)
	use("zeroes while none is offered", nothing.String(), false)
	second := s.Offer()
	if second == first {
		t.Error("a token in use is offered again")
	}
	use("the previous, since the WELCOME may be lost", first, true)
	if again := s.Offer(); again != second {
		t.Errorf("after a lost WELCOME the offer is %q; want %q as before", again, second)
	}
	use("the newest", second, true)
	use("the previous, once the newest was used", first, false)
	use("the newest again", second, true)
	third := s.Offer()
	use("the one before the previous", first, false)
	use("current", second, true)
	use("offered", third, true)
	for name, bad := range map[string]string{
		"nothing": "", "shorter": third[1:], "longer": third + "A", "padded": third + "==", "long": strings.Repeat("A", 1000),
		"not base64": third[:21] + "+", "bits that count for nothing": third[:21] + "B", "another case": strings.ToUpper(third),
	} {
		if bad != third {
			use(name, bad, false)
		}
	}
}

func TestTokensAreNotAlike(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		var s Tokens
		for _, secret := range []string{s.Offer(), NewAttempt()} {
			if seen[secret] {
				t.Fatalf("%q came twice", secret)
			}
			seen[secret] = true
			if !isToken(secret) {
				t.Fatalf("%q cannot be sent", secret)
			}
		}
		h := Hello{Version: 1, Attempt: NewAttempt(), Generation: 1, Window: minWindow, Position: Position{Lowest: 1}}
		if _, err := h.Append(nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKeyOf(t *testing.T) {
	h := &Hello{Attempt: "a", Protocols: []string{"b", "c"}}
	key := KeyOf(h, [32]byte{1}, "https://x", "x/chat?room=1")
	if again := KeyOf(&Hello{Attempt: "a", Protocols: []string{"b", "c"}, Generation: 7}, [32]byte{1}, "https://x", "x/chat?room=1"); again != key {
		t.Error("another carrier of the same opening has another key")
	}
	keys := map[Key]string{key: "the first"}
	for name, other := range map[string]Key{
		"attempt":         KeyOf(&Hello{Attempt: "b", Protocols: h.Protocols}, [32]byte{1}, "https://x", "x/chat?room=1"),
		"protocols":       KeyOf(&Hello{Attempt: "a", Protocols: []string{"c", "b"}}, [32]byte{1}, "https://x", "x/chat?room=1"),
		"joint protocols": KeyOf(&Hello{Attempt: "a", Protocols: []string{"bc"}}, [32]byte{1}, "https://x", "x/chat?room=1"),
		"identity":        KeyOf(h, [32]byte{2}, "https://x", "x/chat?room=1"),
		"origin":          KeyOf(h, [32]byte{1}, "https://y", "x/chat?room=1"),
		"target":          KeyOf(h, [32]byte{1}, "https://x", "x/chat?room=2"),
		"boundary":        KeyOf(h, [32]byte{1}, "https://xx", "/chat?room=1"),
	} {
		if same, ok := keys[other]; ok {
			t.Errorf("another %s has the key of %s", name, same)
		}
		keys[other] = name
	}
}

// A client that keeps to the rules of §5.4 is never turned away by its newest token,
// whatever is lost, late or doubled; and no token is good once a newer was used.
func TestTokensOfManyCarriers(t *testing.T) {
	seed := seed(t)
	for n := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, n))
		var s Tokens
		tokens := []string{s.Offer()} // of the client, the newest last
		used := 0
		var asked, told []string // on their way
		for step := range 200 {
			newest := len(tokens) - 1
			switch rng.IntN(5) {
			case 0: // a carrier begins, maybe with the token before
				asked = append(asked, tokens[max(0, newest-rng.IntN(2))])
			case 1:
				asked = append(asked, tokens[newest])
			case 2, 3: // the server hears one, and answers
				if len(asked) == 0 {
					continue
				}
				i := rng.IntN(len(asked))
				named := asked[i]
				if rng.IntN(4) > 0 {
					asked = slices.Delete(asked, i, i+1)
				}
				which := slices.Index(tokens, named)
				ok := s.Use(named)
				switch {
				case which == newest && !ok:
					t.Fatalf("seed %d, trial %d, step %d: the newest token is void", seed, n, step)
				case which < used && ok:
					t.Fatalf("seed %d, trial %d, step %d: token %d is good, and %d was used", seed, n, step, which, used)
				case ok:
					used = max(used, which)
					told = append(told, s.Offer())
				}
			case 4: // the client hears an answer, or does not
				if len(told) == 0 {
					continue
				}
				i := rng.IntN(len(told))
				if token := told[i]; rng.IntN(3) > 0 && !slices.Contains(tokens, token) {
					tokens = append(tokens, token)
				}
				told = slices.Delete(told, i, i+1)
			}
		}
	}
}
