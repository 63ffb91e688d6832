package server

import (
	"net"
	"net/http"
	"sort"
	"strings"
	"time"
)

// A site is one route in force.
type site struct {
	name     string
	host     string // lower case, without port; "" is any
	path     string // escaped, without a slash at its end
	replaces bool   // the upstream's path takes the place of path
	raw      http.Handler
	engineIO *door         // nil: not spoken here
	resume   http.Handler  // nil: not spoken here
	plain    http.Handler  // nil: not spoken here
	upgrade  time.Duration // what a handshake's answer may take
	socket   bool          // WebSocket is spoken here
}

// A table finds the site of a request. It does not change.
type table map[string][]*site // by host, the longest path first

func newTable(sites []*site) table {
	t := table{}
	for _, s := range sites {
		s.host = hostOf(s.host)
		s.path = strings.TrimSuffix(s.path, "/")
		t[s.host] = append(t[s.host], s)
	}
	for _, list := range t {
		// Stable: of two routes that are the same the first one counts.
		sort.SliceStable(list, func(i, j int) bool { return len(list[i].path) > len(list[j].path) })
	}
	return t
}

// find is the site for a host as a client wrote it and an escaped path. The
// routes of the host itself come before those of any host, however long.
func (t table) find(host, path string) *site {
	host = hostOf(host)
	if s := longest(t[host], path); s != nil || host == "" {
		return s
	}
	return longest(t[""], path)
}

func longest(list []*site, path string) *site {
	for _, s := range list {
		if rest, ok := strings.CutPrefix(path, s.path); ok && (rest == "" || rest[0] == '/') {
			return s
		}
	}
	return nil
}

// hostOf is what hosts are compared by: without port, brackets, a dot at the end
// or regard to case.
func hostOf(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

var encodings = strings.NewReplacer("%2f", "/", "%2F", "/", "%5c", "/", "%5C", "/", `\`, "/", "%2e", ".", "%2E", ".")

// climbs reports whether an escaped path has a segment that some backend may
// take for "." or "..": plain, encoded, between encoded slashes or backslashes,
// or with a parameter behind it.
func climbs(path string) bool {
	for segment := range strings.SplitSeq(encodings.Replace(path), "/") {
		name, _, _ := strings.Cut(segment, ";")
		if name == "." || name == ".." {
			return true
		}
	}
	return false
}
