package config

import (
	"flag"
	"reflect"
	"strings"
)

// A Source is where settings come from: flags, then SIDECAR_ variables, then a
// file, then the defaults; the first that has a key decides it. It can be loaded
// again and again: each time the file is read anew.
//
//	src := config.Source{Env: os.Environ()}
//	src.Flags(fs)
//	fs.Parse(args)
//	c, err := config.Load(src)
type Source struct {
	// File is the file to read. "": the one that SIDECAR_CONFIG names, or else
	// sidecar.yaml in the working directory if there is one, or else none.
	File string
	// Env is the environment as os.Environ gives it: SIDECAR_ variables, and
	// what ${VAR} in the file stands for. An empty SIDECAR_ variable is as good
	// as none.
	Env []string

	flags map[string][]string // key to values in the order given
}

// Flags registers --config, and --KEY for every key, on fs. A list's flag may be
// given several times, or once with commas; of others the last one counts.
func (s *Source) Flags(fs *flag.FlagSet) {
	s.flags = map[string][]string{}
	fs.StringVar(&s.File, "config", s.File, "the configuration `file`; default sidecar.yaml if there is one")
	for _, k := range Keys() {
		fs.Var(&flagValue{s, k}, k.Name, k.Doc)
	}
}

// A flagValue keeps what a flag was given as text; Load judges it with the rest,
// so that all faults are told at once.
type flagValue struct {
	source *Source
	key    Key
}

func (v *flagValue) String() string { return v.key.Default }

func (v *flagValue) Set(s string) error {
	v.source.flags[v.key.Name] = append(v.source.flags[v.key.Name], s)
	return nil
}

// IsBoolFlag lets --proxy_protocol stand for --proxy_protocol=true.
func (v *flagValue) IsBoolFlag() bool {
	return v.key.field.typ != nil && v.key.field.typ.Kind() == reflect.Bool
}

// Suggest is "; did you mean ...?" for a flag or key that does not exist, or "".
func Suggest(name string) string {
	var names []string
	for _, k := range Keys() {
		names = append(names, k.Name)
	}
	return didYouMean(strings.TrimLeft(name, "-"), append(names, "config"))
}
