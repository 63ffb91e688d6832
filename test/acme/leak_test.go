package acme

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// known are goroutines that outlive what started them, by a line of their stack, and
// why.
var known = map[string]string{
	"pebble/v2/va.VAImpl.processTasks":             "pebble has no end",
	"certmagic.(*RingBufferRateLimiter).permit":    "certmagic keeps one per authority and account for ever",
	"certmagic.(*RingBufferRateLimiter).loop":      "the same, as it is named elsewhere",
	"certmagic.keepLockfileFresh":                  "certmagic ends it within 5 s",
	"testing.(*M).":                                "this one",
	"os/signal.":                                   "the runtime's",
	"github.com/caddyserver/certmagic.init":        "certmagic's package begins it",
	"github.com/letsencrypt/pebble/v2/wfe.(*nonce": "pebble has no end",
}

// settled reports whether only known goroutines are left soon after the tests, and
// prints the others.
func settled() bool {
	var left []string
	if eventually(10*time.Second, func() bool { left = strangers(); return len(left) == 0 }) {
		return true
	}
	fmt.Fprintf(os.Stderr, "%d goroutines are left:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
	return false
}

// strangers are the stacks of goroutines that nothing accounts for.
func strangers() (left []string) {
	b := make([]byte, 4<<20)
	b = b[:runtime.Stack(b, true)]
stacks:
	for i, stack := range strings.Split(string(b), "\n\n") {
		for part := range known {
			if i == 0 || strings.Contains(stack, part) {
				continue stacks
			}
		}
		left = append(left, stack)
	}
	return left
}
