package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// inVersion are the protocols that there are; later are those still to come.
var (
	inVersion = []string{"websocket", "resume", "engineio", "http"}
	later     = []string{"socketio", "sockjs"}
)

func (l *loader) checkProtocols(list []string, path string) {
	if len(list) == 0 {
		l.report(path, "names none; this version of sidecar has: "+strings.Join(inVersion, ", "))
	}
	for i, p := range list {
		key := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case slices.Contains(list[:i], p):
			l.report(key, quote(p)+" is given twice")
		case slices.Contains(later, p):
			l.report(key, fmt.Sprintf("%q is not in this version of sidecar; it has: %s", p, strings.Join(inVersion, ", ")))
		case !slices.Contains(inVersion, p):
			l.report(key, quote(p)+" is no protocol; this version of sidecar has: "+strings.Join(inVersion, ", ")+didYouMean(p, inVersion))
		}
	}
}

// plannedKeys are sections and keys that nothing obeys in this version. Who sets
// one would believe that it does something.
var plannedKeys = []string{"socketio", "sockjs", "limits.body"}

// planned reports whether key, "routes[i]." left out, is or is in one of plannedKeys.
func planned(key string) bool {
	return slices.ContainsFunc(plannedKeys, func(p string) bool {
		return key == p || strings.HasPrefix(key, p+".")
	})
}

func (l *loader) checkPlanned() {
	for key, at := range l.where {
		_, held := l.where[parent(key)]
		top := inRoute.ReplaceAllString(key, "")
		if planned(top) && !strings.Contains(top, "[") && !(held && planned(inRoute.ReplaceAllString(parent(key), ""))) {
			l.fault(at, key, "is not in this version of sidecar; remove it")
		}
	}
}

var inRoute = regexp.MustCompile(`^routes\[\d+\]\.`)
