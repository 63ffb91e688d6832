// Package demo is a plain WebSocket backend that knows nothing of the sidecar,
// a page that shows it at work through one, and the same as a list of checks.
package demo

import (
	"context"
	"io"
	"net/http"
)

// Backend serves the page at / and the WebSockets /echo, /ticker and /chat.
// Its chat rooms live as long as the handler does.
func Backend() http.Handler { panic("not yet") }

// Once runs every check against the sidecar at base (http://host:port) that
// stands before a Backend, prints a table to w, and reports whether all passed.
func Once(ctx context.Context, w io.Writer, base string) bool { panic("not yet") }
