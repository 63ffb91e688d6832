package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"sidecar/config"
)

// Exit codes. They are a promise to service managers: one that sees exitUsage
// need not try again.
const (
	exitOK    = 0
	exitFail  = 1 // starting or running failed, or a second signal came
	exitUsage = 2 // the arguments or the configuration are wrong
	exitDrain = 3 // stopped, but connections had to be cut
)

// A program is one run of the command, with everything that it takes from its
// surroundings.
type program struct {
	env      []string
	out, err io.Writer
}

// A command is what follows the program's name.
type command struct {
	name, args, about string
	run               func(program, []string) int
	settings          bool // takes every setting as a flag
}

// commands are in the order of the help. A function and not a variable, because
// help lists itself.
func commands() []command {
	return []command{
		{"run", "[--upstream URL] [--KEY VALUE ...]", "serve (the default command)", program.serve, true},
		{"check", "[--config FILE]", "tell every fault of the configuration, and do nothing else", program.check, true},
		{"config", "[--config FILE]", "print the settings in force, secrets masked", program.config, true},
		{"schema", "", "print a JSON Schema of sidecar.yaml, for editors", program.schema, false},
		{"root", "[--config FILE]", "print the root of the local authority (tls.mode internal) as PEM", program.root, true},
		{"health", "[--config FILE]", "ask the ops listener whether this sidecar is ready: exit code 0 or 1", program.health, true},
		{"demo", "[--once] [--listen ADDRESS]", "show it at work in front of a built-in backend", program.demo, false},
		{"version", "[--json]", "print what program this is", program.version, false},
		{"help", "[COMMAND]", "print this, or all about one command", program.help, false},
	}
}

func find(name string) (command, bool) {
	all := commands()
	i := slices.IndexFunc(all, func(c command) bool { return c.name == name })
	if i < 0 {
		return command{}, false
	}
	return all[i], true
}

// run runs what args ask for and returns the exit code.
func (p program) run(args []string) int {
	if len(args) == 0 {
		return p.serve(nil)
	}
	if slices.Contains([]string{"-h", "-help", "--help"}, args[0]) {
		return p.help(nil)
	}
	if slices.Contains([]string{"-version", "--version"}, args[0]) {
		return p.version(args[1:])
	}
	if strings.HasPrefix(args[0], "-") {
		return p.serve(args)
	}
	c, ok := find(args[0])
	if !ok {
		return p.fault("there is no command %q; see sidecar help", args[0])
	}
	return c.run(p, args[1:])
}

// fault tells a fault of the arguments.
func (p program) fault(format string, a ...any) int {
	fmt.Fprintf(p.err, "sidecar: "+format+"\n", a...)
	return exitUsage
}

// failed tells why something went wrong while it ran.
func (p program) failed(err error) int {
	fmt.Fprintln(p.err, "sidecar:", err)
	return exitFail
}

// parse reads a command's flags. When done is true there is no more to do, and
// code is the exit code.
func (p program) parse(fs *flag.FlagSet, args []string) (done bool, code int) {
	fs.SetOutput(io.Discard)
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return true, p.help([]string{fs.Name()})
	case err != nil:
		return true, p.fault("%s", suggest(err))
	case fs.Arg(0) == "true" || fs.Arg(0) == "false":
		return true, p.fault("%s takes no argument %q; write it behind the flag: --KEY=%s", fs.Name(), fs.Arg(0), fs.Arg(0))
	case fs.NArg() > 0:
		return true, p.fault("%s takes no argument %q; see sidecar %s --help", fs.Name(), fs.Arg(0), fs.Name())
	}
	return false, exitOK
}

// suggest adds what may have been meant to the error of an unknown flag.
func suggest(err error) string {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return err.Error()
	}
	return fmt.Sprintf("there is no flag --%s%s", strings.TrimPrefix(name, "-"), config.Suggest(name))
}

// load reads the settings that a command's flags, the environment and the file
// give. The Source can be loaded again.
func (p program) load(name string, args []string) (src config.Source, c config.Config, done bool, code int) {
	src.Env = p.env
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	src.Flags(fs)
	if done, code = p.parse(fs, args); done {
		return src, c, done, code
	}
	c, err := config.Load(src)
	if err != nil && (name == "health" || name == "root") {
		c, err = loadOps(src, err)
	}
	if err != nil {
		fmt.Fprintln(p.err, err)
		return src, c, true, exitUsage
	}
	return src, c, false, exitOK
}
