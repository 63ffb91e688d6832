package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"sidecar/config"
)

const howToStart = `sidecar stands in front of a WebSocket backend; it has to know where that is:

    sidecar --upstream ws://127.0.0.1:9000      clients come to :8080
    sidecar --config sidecar.yaml               or write a file
    sidecar demo                                or see it at work first

There is no sidecar.yaml here. More: sidecar help
`

const intro = `sidecar stands in front of a plain WebSocket backend, which does not change by a line.

Usage:
    sidecar [COMMAND] [FLAGS]

`

const outro = `
Often used flags (all of them: sidecar run --help):
    --upstream URL         the backend: ws://, wss://, http:// or https://
    --listen ADDRESS       where clients come in; host:port or unix:/path  (:8080)
    --config FILE          the configuration file                           (sidecar.yaml, if there is one)
    --ops.listen ADDRESS   /livez, /readyz and /metrics; or off             (127.0.0.1:9090)
    --log.level LEVEL      debug, info, warn or error                       (info)

Settings are taken from flags, then from SIDECAR_ variables, then from the file.

Examples:
    sidecar --upstream ws://127.0.0.1:9000
    SIDECAR_UPSTREAM=ws://app:9000 sidecar --trusted_proxies 10.0.0.0/8
    sidecar check --config sidecar.yaml && kill -HUP "$(pidof sidecar)"
    sidecar demo

Signals:
    TERM, INT   stop taking clients, let those that are there go, end; a second one ends at once
    HUP         read the configuration again; live connections keep what they have

Exit codes:
    0  all went well
    1  starting or running failed
    2  the arguments or the configuration are wrong
    3  connections had to be cut because they did not end within drain.for
`

// help is the command help.
func (p program) help(args []string) int {
	if len(args) == 0 {
		fmt.Fprint(p.out, intro, "Commands:\n")
		for _, c := range commands() {
			fmt.Fprintf(p.out, "    %-9s%s\n", c.name, c.about)
		}
		fmt.Fprint(p.out, outro)
		return exitOK
	}
	c, ok := find(args[0])
	if !ok {
		return p.fault("there is no command %q; see sidecar help", args[0])
	}
	fmt.Fprintf(p.out, "sidecar %s: %s\n\nUsage:\n    sidecar %s\n", c.name, c.about, strings.TrimSpace(c.name+" "+c.args))
	if c.name == "demo" {
		fmt.Fprint(p.out, "\n    --once             run every check without a browser, print a table, exit 0 or 1\n"+
			"    --listen ADDRESS   where the page is served (localhost:8080)\n")
	}
	if c.settings {
		fmt.Fprint(p.out, configFlag)
	}
	switch {
	case c.name == "run":
		listSettings(p.out)
	case c.settings:
		fmt.Fprint(p.out, "\nEvery setting is a flag here, too: sidecar run --help\n")
	}
	return exitOK
}

const configFlag = `
    --config FILE
        The configuration file; by default sidecar.yaml, if there is one. [SIDECAR_CONFIG]
`

// listSettings lists every setting in its section.
func listSettings(w io.Writer) {
	keys := slices.Clone(config.Keys())
	slices.SortStableFunc(keys, func(a, b config.Key) int {
		return cmp.Compare(min(len(sectionOf(a.Name)), 1), min(len(sectionOf(b.Name)), 1)) // those of no section first
	})
	section := "none"
	for _, k := range keys {
		if k.Planned {
			continue
		}
		if s := sectionOf(k.Name); s != section {
			section = s
			fmt.Fprintf(w, "\n  %s\n", cmp.Or(s, "general"))
		}
		fmt.Fprintf(w, "    --%s%s\n        %s [%s]\n", k.Name, defaultOf(k), k.Doc, k.Env)
	}
}

// sectionOf is "" for the keys at the top.
func sectionOf(key string) string {
	if !strings.Contains(key, ".") {
		return ""
	}
	section, _, _ := strings.Cut(key, ".")
	return section
}

func defaultOf(k config.Key) string {
	if k.Default == "" {
		return ""
	}
	return " (" + k.Default + ")"
}
