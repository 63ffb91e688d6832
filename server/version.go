package server

import (
	"cmp"
	"runtime"
	"runtime/debug"

	"sidecar/admin"
)

// built is the version where whoever builds says it, for the sources alone do not
// tell: -ldflags "-X sidecar/server.built=v1.2.3". Empty: what Go made of them.
var built string

// A Version says what program this is, from what the Go linker wrote into it.
type Version struct {
	Version  string `json:"version"`            // as it was built, a module version, or "(devel)"
	Revision string `json:"revision,omitempty"` // of the version control
	Time     string `json:"time,omitempty"`     // of that revision
	Modified bool   `json:"modified,omitempty"` // there were changes on top of it
	Go       string `json:"go"`
}

// ThisVersion is the running program's.
func ThisVersion() Version {
	v := Version{Version: cmp.Or(built, "(devel)"), Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version = cmp.Or(built, info.Main.Version, v.Version)
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func (v Version) build() admin.Build {
	return admin.Build{Version: v.Version, Revision: v.Revision, Go: v.Go}
}
