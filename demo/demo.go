// Package demo is a plain WebSocket backend that knows nothing of the sidecar,
// a page that shows it at work through one, and the same as a list of checks.
//
// Its backend stands for a program of somebody else's making, and its checks for
// a client of somebody else's making. So both are written with a third party's
// WebSocket library, and share not one line with the relay they are to test; in
// the product itself only proxy names that library. Only resumable sessions have no
// client but our own: their checks drive client/resumable over a network that fails
// on command.
//
// To add a transport, add a panel to page/panels.js and a check to checks in
// once.go.
package demo

import (
	"errors"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// What a stranger can grow, and where it ends.
const (
	maxSockets  = 10_000  // connections of one Backend; one more gets 503
	maxMessage  = 2 << 20 // bytes of a message to /echo, inflated; more gets 1009
	maxIgnored  = 4 << 10 // bytes of a message where none is awaited; more gets 1009
	maxReason   = 100     // bytes of the reason that /close is asked for; more gets 400
	handshakeIn = 5 * time.Second
	readIn      = 60 * time.Second // for a message, or a pong; then the connection ends
	pingEvery   = 25 * time.Second
	writeIn     = 10 * time.Second // for one message to be taken; then the connection ends
	answerIn    = 10 * time.Second // for one plain HTTP answer
	lingerFor   = time.Second      // for the peer to take our close and hang up
)

// Subprotocol is what /echo speaks to whoever offers it.
const Subprotocol = "demo.v1"

// A backend is what the handlers share: all of it is empty again when the
// connections have ended.
type backend struct {
	slots chan struct{} // one for each open socket
	lobby room
}

// Backend serves the page at /, plain HTTP below /api/, and these WebSockets:
//
//	/                      /close if a code is asked for, and /echo if not: where
//	                       sessions of Engine.IO arrive, which have no path of their own
//	/echo                  sends back what it gets; permessage-deflate and Subprotocol if offered
//	/ticker                a JSON object with n and time at once, and then every second
//	/chat?name=…           one room: text is passed on to all; see room
//	/refuse?status=401     refuses the handshake with 401, 403, 404, 429 or 503
//	/close?code=…&reason=… closes with that code and reason; without a code it
//	                       answers the client's close with its code and "heard " + its reason
//
// It accepts any Origin: it keeps nothing worth stealing, and so a refusal seen
// by a client can only come from what stands in front. All it keeps is bounded;
// it keeps nothing when its connections have ended, and starts no goroutine
// that outlives its connection.
func Backend() http.Handler {
	return newBackend(maxSockets).handler()
}

func newBackend(sockets int) *backend {
	return &backend{slots: make(chan struct{}, sockets)}
}

func (b *backend) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /echo", b.echo)
	mux.HandleFunc("GET /ticker", b.ticker)
	mux.HandleFunc("GET /chat", b.chat)
	mux.HandleFunc("GET /close", b.close)
	mux.HandleFunc("GET /refuse", refuse)
	mux.HandleFunc("GET /api/hello", hello)
	mux.HandleFunc("GET /api/stream", stream)
	files := page()
	mux.Handle("GET /", files)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { b.root(w, r, files) })
	return bounded(mux)
}

// bounded gives every answer its time and the headers that all of them carry.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Not every ResponseWriter has deadlines; those that lack them have no socket.
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerIn)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// accept takes a handshake on, or answers it with an error and returns nil.
// Whoever gets a socket must run it, which also frees its slot.
func (b *backend) accept(w http.ResponseWriter, r *http.Request, u websocket.Upgrader, most int64) *socket {
	select {
	case b.slots <- struct{}{}:
	default:
		http.Error(w, "too many connections", http.StatusServiceUnavailable)
		return nil
	}
	u.HandshakeTimeout = handshakeIn
	u.CheckOrigin = func(*http.Request) bool { return true }
	conn, err := u.Upgrade(w, r, nil)
	if err != nil { // Upgrade has answered
		<-b.slots
		return nil
	}
	// The limit is on bytes of the wire; read has one for what they inflate to.
	conn.SetReadLimit(most)
	return &socket{conn: conn, most: most, free: func() { <-b.slots }}
}
