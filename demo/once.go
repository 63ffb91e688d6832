package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
	"unicode"
)

// checkIn is the time a check has.
const checkIn = 5 * time.Second

// A check tries one thing against a backend behind a sidecar. Its detail is one
// line of what was seen.
type check struct {
	name string
	try  func(context.Context, *target) (detail string, err error)
}

// checks are all of them, in the order of the table.
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
// check has 5 s; when ctx is done, the rest fail.
func Once(ctx context.Context, w io.Writer, base string) bool {
	return run(ctx, w, base, new(net.Dialer).DialContext)
}

// run is Once over the connections that dial makes.
func run(ctx context.Context, w io.Writer, base string, dial dialFunc) bool {
	t, err := newTarget(base, dial)
	if err != nil {
		fmt.Fprintln(w, err)
		return false
	}
	defer t.close()
	failed := 0
	row(w, "check", "result", "time", "detail")
	for _, c := range checks {
		if !c.run(ctx, w, t) {
			failed++
		}
	}
	fmt.Fprintf(w, "%d passed, %d failed\n", len(checks)-failed, failed)
	return failed == 0
}

// run tries c within its time and prints what came of it.
func (c check) run(ctx context.Context, w io.Writer, t *target) bool {
	ctx, cancel := context.WithTimeout(ctx, checkIn)
	defer cancel()
	start := time.Now()
	detail, err := c.try(ctx, t)
	result := "ok"
	if err != nil {
		result, detail = "FAILED", err.Error()
	}
	if err != nil && ctx.Err() != nil {
		// What the check ran into then is only that its connections were closed.
		detail = context.Cause(ctx).Error() + ": " + detail
	}
	row(w, c.name, result, time.Since(start).Round(100*time.Microsecond).String(), detail)
	return err == nil
}

// row prints one line, aligned with all others. Some of detail is the other
// end's words, which must not move the cursor of a terminal.
func row(w io.Writer, name, result, took, detail string) {
	width := 0
	for _, c := range checks {
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
