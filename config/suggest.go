package config

import (
	"fmt"
	"strings"
)

// didYouMean is "; did you mean ...?" where one of words is close to what was
// written, else "".
func didYouMean(wrote string, words []string) string {
	if best := nearest(wrote, words); best != "" {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	return ""
}

// nearest is the word that was most likely meant, or "". Case, hyphens and
// underscores do not count, so that headerTimeout finds header_timeout.
func nearest(wrote string, words []string) string {
	const longest = 64 // of strangers' text; also bounds the work below
	if len(wrote) > longest {
		return ""
	}
	a := plain(wrote)
	best, least := "", 1+min(2, len(a)/3)
	for _, w := range words {
		if d := distance(a, plain(w)); d < least {
			best, least = w, d
		}
	}
	return best
}

func plain(s string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s))
}

// distance counts the letters to change, insert, drop or swap with a neighbour
// to get from a to b.
func distance(a, b string) int {
	prev, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], prev[j-1]+1)
			}
		}
		prev, row = row, next
	}
	return row[len(b)]
}
