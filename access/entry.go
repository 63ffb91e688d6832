package access

import (
	"fmt"
	"net/netip"
	"strings"
)

// parseEntry reads one configured origin; wild says that it began its host with
// "*.", which is cut off. fault is "" or what is wrong and the remedy, to follow
// the quoted entry.
func parseEntry(entry string) (o origin, wild bool, fault string) {
	scheme, rest, found := strings.Cut(entry, "://")
	if fault := entryFault(entry, scheme, rest, found); fault != "" {
		return origin{}, false, fault
	}
	host, wild := strings.CutPrefix(rest, "*.")
	o, ok := parseOrigin(scheme + "://" + host)
	if !ok {
		return origin{}, false, "has no valid host and port: write scheme://host or scheme://host:port"
	}
	if _, err := netip.ParseAddr(o.host); wild && err == nil {
		return origin{}, false, "has a wildcard before an address: list the addresses one by one"
	}
	return o, wild, ""
}

// entryFault finds the usual mistakes, so that each has its own remedy.
func entryFault(entry, scheme, rest string, found bool) string {
	end := strings.IndexAny(rest, "/?#")
	switch {
	case entry == "":
		return `is empty: write a scheme and a host, or "null" in quotes for pages that have no origin`
	case !found:
		return missingScheme(entry)
	case !isScheme(strings.Map(lower, scheme)):
		return `has no valid scheme: write one entry for http:// and one for https://`
	case scheme == "ws" || scheme == "wss":
		return fmt.Sprintf("is an address to connect to: a page's origin is %q", "http"+scheme[2:]+"://"+rest)
	case end == len(rest)-1 && end > 0 && rest[end] == '/':
		return fmt.Sprintf("ends in a slash: write %q", entry[:len(entry)-1])
	case end >= 0:
		return fmt.Sprintf("has a path, and an origin has none: write %q", scheme+"://"+rest[:end])
	case strings.Contains(rest, "@"):
		return "has a user name, and an origin has none: write scheme://host"
	case strings.Contains(strings.TrimPrefix(rest, "*."), "*"):
		return `may have a wildcard only for whole labels at the host's begin: write "https://*.example.com"`
	case strings.ContainsFunc(rest, func(r rune) bool { return r > '~' }):
		return "must be in ASCII, as browsers send it: write the host as xn--…"
	}
	return ""
}

func missingScheme(entry string) string {
	for _, word := range []string{sameOrigin, anyOrigin, nullOrigin} {
		if strings.EqualFold(strings.Trim(entry, " "), word) {
			return fmt.Sprintf("is misspelt: write %q", word)
		}
	}
	host := strings.TrimPrefix(entry, "//")
	return fmt.Sprintf("has no scheme: write %q", "https://"+strings.TrimRight(host, "/"))
}
