package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
	"unicode"
)

// The time that a check has, and that one of a resumable session has.
const (
	checkIn  = 5 * time.Second
	resumeIn = 15 * time.Second
)

// A check tries one thing against a backend behind a sidecar. Its detail is one
// line of what was seen.
type check struct {
	name string
	try  func(context.Context, *target) (detail string, err error)
}

// checks are those that are made one after the other, in the order of the table.
var checks = []check{
	{"text", echoesText},
	{"binary", echoesBinary},
	{"1 MiB message", echoesLarge},
	{"1,000 messages in order", echoesInOrder},
	{"permessage-deflate", agreesDeflate},
	{"subprotocol", agreesSubprotocol},
	{"refused handshake", passesRefusal},
	{"close from the backend", passesCloseDown},
	{"close from the client", passesCloseUp},
	{"ping", answersPing},
	{"ticker", ticks},
	{"chat between two", chats},
	{"Engine.IO by polling", enginePolls},
	{"Engine.IO by WebSocket", engineSockets},
	{"Engine.IO upgrade", engineUpgrades},
	{"HTTP pass-through", passesHTTP},
	{"HTTP streaming", streamsHTTP},
	{"foreign Origin refused", refusesForeignOrigin},
}

// Once runs every check against the sidecar at base (http://host:port, or
// https://) that stands before a Backend, prints a row of a table to w as each
// ends, and then how many passed and failed. It reports whether all passed. One
// check has 5 s; those of resumable sessions run beside each other behind the
// others, and have 15 s. When ctx is done, the rest fail.
func Once(ctx context.Context, w io.Writer, base string) bool {
	return run(ctx, w, base, new(net.Dialer).DialContext, checks, resumptions)
}

// run is Once over the connections that dial makes, with checks that are made in
// turn and such that are made at once.
func run(ctx context.Context, w io.Writer, base string, dial dialFunc, inTurn, atOnce []check) bool {
	t, err := newTarget(base, dial)
	if err != nil {
		fmt.Fprintln(w, err)
		return false
	}
	defer t.close()
	failed := 0
	row(w, "check", "result", "time", "detail")
	show := func(c check, o outcome) {
		if o.print(w, c.name); o.err != nil {
			failed++
		}
	}
	for _, c := range inTurn {
		show(c, c.run(ctx, t, checkIn))
	}
	outcomes := make([]chan outcome, len(atOnce))
	for i, c := range atOnce {
		outcomes[i] = make(chan outcome, 1)
		go func() { outcomes[i] <- c.run(ctx, t, resumeIn) }()
	}
	for i, c := range atOnce {
		show(c, <-outcomes[i])
	}
	fmt.Fprintf(w, "%d passed, %d failed\n", len(inTurn)+len(atOnce)-failed, failed)
	return failed == 0
}

// An outcome is what came of a check.
type outcome struct {
	detail string
	err    error
	took   time.Duration
}

// run tries c within its time.
func (c check) run(ctx context.Context, t *target, within time.Duration) outcome {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	start := time.Now()
	detail, err := c.try(ctx, t)
	if err != nil && ctx.Err() != nil {
		// What the check ran into then is only that its connections were closed.
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return outcome{detail, err, time.Since(start)}
}

func (o outcome) print(w io.Writer, name string) {
	result, detail := "ok", o.detail
	if o.err != nil {
		result, detail = "FAILED", o.err.Error()
	}
	row(w, name, result, o.took.Round(100*time.Microsecond).String(), detail)
}

// row prints one line, aligned with all others. Some of detail is the other
// end's words, which must not move the cursor of a terminal.
func row(w io.Writer, name, result, took, detail string) {
	detail = strings.ReplaceAll(detail, "\n", "; ") // of several errors
	width := 0
	for _, c := range slices.Concat(checks, resumptions) {
		width = max(width, len(c.name))
	}
	fmt.Fprintf(w, "%-*s  %-6s  %9s  %s\n", width, name, result, took, strings.Map(printable, detail))
}

func printable(c rune) rune {
	if unicode.IsPrint(c) {
		return c
	}
	return '?'
}
