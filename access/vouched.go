package access

import (
	"net/http"
	"strings"
)

// DropVouched removes the header name, which only we vouch for, from what a stranger
// sent: every spelling that a backend may take for it, as with X-Forwarded-For, and
// its place in Connection, by which a stranger could have ours stripped again.
func DropVouched(h http.Header, name string) {
	for key := range h {
		if spells(key, name) {
			delete(h, key)
		}
	}
	for _, line := range h["Connection"] {
		if lists(line, name) {
			h["Connection"] = without(h["Connection"], name)
			return
		}
	}
}

// spells reports whether a backend may take key for name.
func spells(key, name string) bool {
	if len(key) != len(name) {
		return false
	}
	for i := range len(key) {
		if plainByte(rune(key[i])) != plainByte(rune(name[i])) {
			return false
		}
	}
	return true
}

func lists(line, name string) bool {
	for token := range strings.SplitSeq(line, ",") {
		if spells(strings.Trim(token, " \t"), name) {
			return true
		}
	}
	return false
}

// without is a list header's lines but for one element, wherever it comes.
func without(lines []string, name string) (kept []string) {
	for _, line := range lines {
		var rest []string
		for token := range strings.SplitSeq(line, ",") {
			if token = strings.Trim(token, " \t"); !spells(token, name) {
				rest = append(rest, token)
			}
		}
		if len(rest) > 0 {
			kept = append(kept, strings.Join(rest, ", "))
		}
	}
	return kept
}
