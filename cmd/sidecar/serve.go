package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"sidecar/config"
	"sidecar/server"
)

// lastWait is what the server has to end after a second signal, so that the
// process is gone within a second.
const lastWait = 800 * time.Millisecond

// serve is the command run.
func (p program) serve(args []string) int {
	if len(args) == 0 && !p.configured() {
		fmt.Fprint(p.err, howToStart)
		return exitUsage
	}
	// SIGHUP kills by default, so it is taken before anybody knows that this runs,
	// and until the process ends: one that comes late must not change the exit code.
	hangups := make(chan os.Signal, 1) // one that waits stands for all that came
	signal.Notify(hangups, syscall.SIGHUP)
	src, c, done, code := p.load("run", args)
	if done {
		return code
	}
	if err := server.Check(c); err != nil {
		fmt.Fprintln(p.err, err)
		return exitUsage
	}
	s, err := server.Environment{Stderr: p.err}.New(c)
	if err != nil {
		return p.failed(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go reloads(ctx, s, src, hangups)
	return p.attend(s)
}

// reloads reloads at each of hangups until ctx is done. Nobody waits for it: a
// file on a dead file system, or a pipe that nobody writes to, must keep no
// signal from ending the program.
func reloads(ctx context.Context, s *server.Server, src config.Source, hangups <-chan os.Signal) {
	for {
		select {
		case <-hangups:
			reload(s, src)
		case <-ctx.Done():
			return
		}
	}
}

// configured reports whether anything at all says what to do.
func (p program) configured() bool {
	_, err := os.Lstat("sidecar.yaml")
	return err == nil || slices.ContainsFunc(p.env, func(e string) bool { return strings.HasPrefix(e, "SIDECAR_") })
}

// attend runs s until it has ended. SIGTERM and SIGINT drain it, and the second
// ends it at once. Before this they kill, as by default: nothing is served yet.
// They are never given back: a late one must not take the exit code's place.
func (p program) attend(s *server.Server) int {
	signals := make(chan os.Signal, 2) // a drain and its end
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	for {
		select {
		case err := <-ended:
			return p.code(err)
		case <-signals:
			if ctx.Err() != nil {
				return p.abandon(s, ended)
			}
			stop()
		}
	}
}

// code is the exit code for how a Run ended. A drain that timed out was logged.
func (p program) code(err error) int {
	switch {
	case err == nil:
		return exitOK
	case strings.HasPrefix(err.Error(), server.ErrDrain.Error()) && errors.Is(err, server.ErrDrain):
		return exitDrain
	}
	return p.failed(err)
}

// abandon ends everything at once. It fails unless everything had ended already.
func (p program) abandon(s *server.Server, ended <-chan error) int {
	s.Close()
	select {
	case err := <-ended:
		if err == nil {
			return exitOK
		}
	case <-time.After(lastWait):
	}
	return exitFail
}

// reload reads all sources again. A faulty configuration is logged, and the old
// one goes on.
func reload(s *server.Server, src config.Source) {
	c, err := config.Load(src)
	if err == nil {
		err = s.Reload(c)
	}
	if err != nil {
		s.ReloadFailed(err)
	}
}
