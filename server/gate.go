package server

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
)

// fairStreams is how many requests for sessions one connection over HTTP/2 may have
// under way while the gate is more than half full: a carrier that reads, one that
// writes and their successors, for two sessions.
const fairStreams = 8

// A gate bounds requests over HTTP/2 that take no descriptor, and so no token of the
// slots: idle polls would leave none to anybody else. A client has two requests under
// way, and there are fewer sessions than half of what the gate lets in.
//
// What fills it are connections that have more than they need: a hundred requests that
// are answered at once each, whose answers are not taken for as long as that may last.
// Two hundred such connections would keep everybody's polls out. So they can have one
// half; in the other a connection gets its fair share only, and a thousand would be
// needed.
type gate struct {
	most   int64
	inside atomic.Int64
}

// streams counts the requests for sessions of one connection.
type streams struct{ inside atomic.Int64 }

func (g *gate) enter(own *streams) bool {
	mine, all := own.inside.Add(1), g.inside.Add(1)
	if all <= g.most/2 || all <= g.most && mine <= fairStreams {
		return true
	}
	g.leave(own)
	return false
}

func (g *gate) leave(own *streams) {
	g.inside.Add(-1)
	own.inside.Add(-1)
}

type streamsKey struct{}

// countStreams gives a connection its counter.
func countStreams(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, streamsKey{}, new(streams))
}

// streamsOf is the counter of the request's connection.
func streamsOf(r *http.Request) *streams {
	own, _ := r.Context().Value(streamsKey{}).(*streams)
	return own
}
