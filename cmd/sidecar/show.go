package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"runtime"
	"strings"

	"sidecar/config"
	"sidecar/server"
)

// check is the command check: config.Load has told the faults of the settings;
// what is left are the files that they name.
func (p program) check(args []string) int {
	_, c, done, code := p.load("check", args)
	if done {
		return code
	}
	if err := server.Check(c); err != nil {
		fmt.Fprintln(p.err, err)
		return exitUsage
	}
	from := c.File
	if from == "" {
		from = "the configuration"
	}
	fmt.Fprintf(p.out, "%s is good: %d route(s)\n", from, len(c.AllRoutes()))
	return exitOK
}

// config is the command config.
func (p program) config(args []string) int {
	_, c, done, code := p.load("config", args)
	if done {
		return code
	}
	if err := c.Write(p.out); err != nil {
		return p.failed(fmt.Errorf("writing settings: %w", err))
	}
	return exitOK
}

// schema is the command schema.
func (p program) schema(args []string) int {
	if done, code := p.parse(flag.NewFlagSet("schema", flag.ContinueOnError), args); done {
		return code
	}
	if _, err := p.out.Write(config.Schema()); err != nil {
		return p.failed(fmt.Errorf("writing schema: %w", err))
	}
	return exitOK
}

// version is the command version.
func (p program) version(args []string) int {
	fs := flag.NewFlagSet("version", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print JSON")
	if done, code := p.parse(fs, args); done {
		return code
	}
	v := server.ThisVersion()
	if *asJSON {
		if err := json.NewEncoder(p.out).Encode(v); err != nil {
			return p.failed(fmt.Errorf("writing version: %w", err))
		}
		return exitOK
	}
	words := []string{"sidecar", v.Version}
	if v.Revision != "" {
		words = append(words, v.Revision)
	}
	if v.Modified {
		words = append(words, "with changes")
	}
	fmt.Fprintf(p.out, "%s (%s, %s/%s)\n", strings.Join(words, " "), v.Go, runtime.GOOS, runtime.GOARCH)
	return exitOK
}
