package config

import (
	"regexp"
	"slices"
	"strings"
)

// injected are the variables that Kubernetes puts into every pod of a namespace
// for a service called sidecar, or sidecar-something. Nobody set them.
var injected = regexp.MustCompile(`^SIDECAR_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_[A-Z0-9_]+)$|^SIDECAR_(SERVICE|PORT)_`)

func (l *loader) fromEnv() {
	known := map[string]bool{"SIDECAR_CONFIG": true}
	names := []string{"SIDECAR_CONFIG"}
	for _, k := range Keys() {
		known[k.Env] = true
		names = append(names, k.Env)
		if val := l.env[k.Env]; val != "" {
			l.fromText(k, []string{val}, origin{rank: fromEnv, name: k.Env})
		}
	}
	for name := range l.env {
		if strings.HasPrefix(name, "SIDECAR_") && !known[name] && !injected.MatchString(name) {
			at := origin{rank: fromEnv, name: name}
			l.faults = append(l.faults, fault{at: at, text: "is the variable of no key" + meantVariable(name, names)})
		}
	}
}

// meantVariable is "; did you mean ...?" for a variable that is no key: one with
// a like name, or those of the section that it names.
func meantVariable(name string, names []string) string {
	if s := didYouMean(name, names); s != "" {
		return s
	}
	var within []string
	for _, n := range names {
		if strings.HasPrefix(n, name+"_") {
			within = append(within, n)
		}
	}
	if len(within) > 0 {
		return "; did you mean " + either(slices.Clip(within)) + "?"
	}
	return ""
}
