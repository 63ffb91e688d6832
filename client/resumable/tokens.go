package resumable

import (
	"slices"
)

// maxSeen bounds the tokens that are remembered: more than carriers that can be under
// way at once.
const maxSeen = 16

// tokens are the credentials as the client sees them (§5.4).
type tokens struct {
	seen []string // the newest last
}

// learn takes a WELCOME's. One that was there before came late: going back to it
// would name a token that is void.
func (t *tokens) learn(token string) {
	if slices.Contains(t.seen, token) {
		return
	}
	if len(t.seen) == maxSeen {
		t.seen = slices.Delete(t.seen, 0, 1)
	}
	t.seen = append(t.seen, token)
}

func (t *tokens) newest() string {
	if len(t.seen) == 0 {
		return ""
	}
	return t.seen[len(t.seen)-1]
}

// name is the token to name now, where HELLOs with the tokens of unanswered are under
// way: naming a newer one would void theirs.
func (t *tokens) name(unanswered []string) string {
	for _, token := range t.seen {
		if slices.Contains(unanswered, token) {
			return token
		}
	}
	return t.newest()
}
