package config

import (
	"fmt"
	"os"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

// defaultFile is read if it is there and nobody named another.
const defaultFile = "sidecar.yaml"

// Load reads all sources into one checked Config. The error joins all faults,
// each on a line of its own with the place, the key, the value and the remedy.
func Load(src Source) (Config, error) {
	l := newLoader(src.Env)
	name, at := src.file(l.env)
	var text []byte
	if name != "" {
		var err error
		if text, err = readFile(name); err != nil {
			l.faults = append(l.faults, fault{at: at, text: err.Error()})
			l.broken = true
		}
	}
	return l.load(name, text, src)
}

// Parse reads the text of a file alone: no variables, no flags. name is what
// faults call it.
func Parse(name string, text []byte) (Config, error) {
	return newLoader(nil).load(name, text, Source{})
}

// file is the file to read, "" for none, and what named it.
func (s Source) file(env map[string]string) (string, origin) {
	if s.File != "" {
		return s.File, origin{rank: fromFlag, name: "--config"}
	}
	if name := env["SIDECAR_CONFIG"]; name != "" {
		return name, origin{rank: fromEnv, name: "SIDECAR_CONFIG"}
	}
	if _, err := os.Lstat(defaultFile); err != nil && os.IsNotExist(err) {
		return "", origin{}
	}
	return defaultFile, origin{rank: fromFile, name: defaultFile}
}

// A loader gathers one Config, where each of its values came from, and every
// fault on the way.
type loader struct {
	config  Config
	env     map[string]string
	where   map[string]origin
	failed  map[string]bool // keys with a fault already; their values are not the user's
	single  map[string]bool // lists that were given as one scalar
	told    map[string]bool // faults of values, so that routes do not repeat the top level's
	faults  []fault
	flooded bool // the rest was not read, so checks of the whole would mislead
	broken  bool // the file could not be read, so what is missing may stand there
	routes  *decoder
}

func newLoader(env []string) *loader {
	l := &loader{
		config: Default(), env: map[string]string{}, where: map[string]origin{},
		failed: map[string]bool{}, single: map[string]bool{}, told: map[string]bool{},
	}
	for _, e := range env {
		name, val, _ := strings.Cut(e, "=")
		l.env[name] = val
	}
	return l
}

func (l *loader) fault(at origin, key, format string, a ...any) {
	l.failed[key] = true
	l.add(at, key, fmt.Sprintf(format, a...))
}

// add names the one element of a list that was given as a scalar by the list's key.
func (l *loader) add(at origin, key, text string) {
	if list, ok := strings.CutSuffix(key, "[0]"); ok && l.single[list] {
		key = list
	}
	l.faults = append(l.faults, fault{at: at, key: key, text: text})
}

// load reads the sources from the weakest to the strongest, then the routes,
// which inherit from all of them.
func (l *loader) load(name string, text []byte, src Source) (Config, error) {
	l.config.File = name
	l.fromFile(name, text)
	l.fromEnv()
	l.fromFlags(src.flags)
	l.decodeRoutes()
	if !l.flooded {
		l.check()
	}
	if err := joinFaults(l.faults); err != nil {
		return Config{}, err
	}
	return l.config, nil
}

func (l *loader) fromFile(name string, text []byte) {
	root, faults := document(name, text)
	if len(faults) > 0 {
		l.faults = append(l.faults, faults...)
		l.broken = true
	}
	if root == nil {
		return
	}
	at := func(n *yaml.Node) origin {
		return origin{rank: fromFile, name: name, line: n.Line, col: n.Column}
	}
	env := func(name string) (string, bool) {
		val, ok := l.env[name]
		return val, ok
	}
	d := &decoder{loader: l, at: at, env: env}
	d.decode(root, reflect.ValueOf(&l.config).Elem(), field{}, "")
	l.broken = l.broken || l.failed[""]
	l.hold(d)
}

// hold keeps the routes of the strongest source that has any.
func (l *loader) hold(d *decoder) {
	if d.held != nil {
		l.routes = d
		l.where["routes"] = d.at(d.held)
	}
}
