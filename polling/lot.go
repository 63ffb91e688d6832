package polling

import (
	"context"
	"net"
	"sync"
	"time"

	"sidecar/loop"
)

// A Lot is where connections wait without a goroutine: with a poll whose answer is
// held back, then for the client to take it, then for the client's next request.
// Its exported fields do not change while it is in use.
type Lot struct {
	// Loops watch the connections.
	Loops *loop.Group
	// GiveBack gets connections whose next request has begun to come, to be served
	// anew. It must not wait: a loop's callback calls it.
	GiveBack func(net.Conn)
	// Idle is how long a connection may wait for its next request; then it is
	// closed. Default 75s.
	Idle time.Duration

	mu sync.Mutex
}

// Len is how many connections are in the lot.
func (l *Lot) Len() int { return 0 }

// Close closes what idles, has all answers from now on close their connections,
// and returns when no connection is left. Once ctx is done it cuts those that are.
func (l *Lot) Close(ctx context.Context) {}
