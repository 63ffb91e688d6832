package certs

import (
	"net"
	"strings"
)

// maxName and maxLabel bound a name. RFC 1035 section 2.3.4 has 253 for the former; but
// names are in those of files too, "issue_cert_" and ".lock" around them, and of files
// 255 bytes is the most. Nobody's storage is to fail for a name that a stranger made up.
const (
	maxName  = 230
	maxLabel = 63
)

// normal is name in lower case and without a last dot, which certificates and the
// server names of TLS do not have (RFC 6066 section 3).
func normal(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// canonical is the normal form of a name or an address.
func canonical(host string) string {
	if ip := net.ParseIP(host); ip != nil {
		return ip.String()
	}
	return normal(host)
}

// checkName says what keeps name from being that of a host, "" for nothing. A name of
// TLS is ASCII: others are written as A-labels (RFC 5890). Digits alone at its end
// would make it an address in many a reader's eyes.
func checkName(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > maxName:
		return "is longer than 230 bytes"
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if what := checkLabel(label); what != "" {
			return what
		}
		last = label
	}
	if strings.Trim(last, "0123456789") == "" {
		return "ends like an address"
	}
	return ""
}

func checkLabel(label string) string {
	switch {
	case label == "":
		return "has an empty label"
	case len(label) > maxLabel:
		return "has a label longer than 63 bytes"
	case label[0] == '-' || label[len(label)-1] == '-':
		return "has a label that begins or ends with a hyphen"
	}
	for _, c := range []byte(label) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return "has a character that names of hosts do not have; write others as xn--"
		}
	}
	return ""
}

// A nameSet is names, some of them beginning with "*." for any one label there.
type nameSet map[string]struct{}

func newNameSet(names []string) nameSet {
	s := nameSet{}
	for _, n := range names {
		s[normal(n)] = struct{}{}
	}
	return s
}

// has reports whether name, in its normal form, is in the set or below a "*.".
func (s nameSet) has(name string) bool {
	if _, exact := s[name]; exact {
		return true
	}
	_, above, found := strings.Cut(name, ".")
	if !found {
		return false
	}
	_, below := s["*."+above]
	return below
}
