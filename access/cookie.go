package access

import (
	"net/http"
	"strings"
)

// Cookie returns the values of a cookie as they were sent, in order. Unlike net/http
// it leaves none out whose value has characters that no cookie should have: who is
// told apart by a cookie must not be taken for somebody without one (RFC 6265 §5.4
// has browsers send what they were given).
func Cookie(h http.Header, name string) (values []string) {
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if key, value, _ := strings.Cut(pair, "="); strings.Trim(key, " \t") == name {
				values = append(values, strings.Trim(value, " \t"))
			}
		}
	}
	return values
}
