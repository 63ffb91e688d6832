package access

import (
	"net/netip"
	"strconv"
	"strings"
)

// splitHost cuts host[:port] in two, in lower case, without brackets and with
// an IPv6 address in its shortest form. Only letters, digits, hyphens and
// underscores make a label, so what browsers and others read differently (an @,
// a backslash, a percent, a blank) is no host at all.
func splitHost(s string) (host, port string, ok bool) {
	if strings.HasPrefix(s, "[") {
		return splitIPv6(s)
	}
	host, port, hasPort := strings.Cut(s, ":")
	host = strings.Map(lower, host)
	if hasPort {
		if port, ok = parsePort(port); !ok {
			return "", "", false
		}
	}
	return host, port, isHost(host)
}

func splitIPv6(s string) (host, port string, ok bool) {
	end := strings.IndexByte(s, ']')
	if end < 0 || end > maxHop {
		return "", "", false
	}
	addr, err := netip.ParseAddr(s[1:end])
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", "", false
	}
	if rest := s[end+1:]; rest != "" {
		digits, found := strings.CutPrefix(rest, ":")
		if port, ok = parsePort(digits); !found || !ok {
			return "", "", false
		}
	}
	return addr.String(), port, true
}

// parsePort returns the port without leading zeros.
func parsePort(s string) (string, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return strconv.FormatUint(n, 10), err == nil && n > 0
}

// maxHost is the longest name that DNS carries, with its last dot.
const maxHost = 254

func isHost(s string) bool {
	name := strings.TrimSuffix(s, ".")
	if name == "" || len(s) > maxHost {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || strings.ContainsFunc(label, notLabel) {
			return false
		}
	}
	return true
}

func notLabel(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// lower lowers ASCII letters only: to strings.ToLower the Kelvin sign is a k.
func lower(r rune) rune {
	if r >= 'A' && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}
