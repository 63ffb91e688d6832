package resume

import (
	"time"

	"sidecar/heartbeat"
	"sidecar/protocol/resume/wire"
)

// A carrier is one way to a client, under one generation (§6). The client's lock
// guards it.
type carrier struct {
	client     *client
	generation uint64
	kind       wire.Kind
	way        way

	welcome []byte // the first frame; nil: it was said
	opened  time.Time
	seen    heartbeat.Pulse // signs of life: of the client on a WebSocket, else of ours
	until   time.Time       // what expire ends; zero: nothing
	doubted time.Time       // when the client was first found silent; zero: it was not
	mark    [8]byte         // of the client's PING
	marked  int8            // its length
	ponged  bool            // it is to be answered
	pinging bool            // a PING of ours is due
	warned  bool            // it was told of the end (§9.1)
	urgent  bool            // an ACK is to go, if nothing else does
	aged    bool            // it ends behind what is drawn next
	over    bool            // it is none of the client's any more
}

// A way is what a carrier's frames go down by: a WebSocket, a stream, or the answers
// to polls. Its methods are called without locks but ready, which the client's guards.
type way interface {
	// wake says that next may have something. It must not wait.
	wake()
	// ready reports whether what is said now goes at once.
	ready() bool
	// end ends it without a word: another has its place, or the client is silent.
	end(code int, reason string)
}

const (
	// piece is the most bytes that are drawn at once where there is no other bound:
	// PINGs go between two, and what waits to be written is memory.
	piece = wire.MaxPayload + 1<<10
	// controlRoom is what the frames take that are no messages.
	controlRoom = 64
)

// next appends what the carrier has to say now, up to a length of dst of most, and
// reports whether it ends behind that. more: there is more to say.
func (k *carrier) next(dst []byte, most int) (out []byte, more, ends bool) {
	c := k.client
	c.mu.Lock()
	defer c.mu.Unlock()
	return k.say(dst, most)
}

// say is next for who holds mu.
func (k *carrier) say(dst []byte, most int) (out []byte, more, ends bool) {
	c, was := k.client, len(dst)
	if k.over {
		return dst, false, true
	}
	if k.welcome != nil {
		dst = append(dst, k.welcome...)
		k.welcome = nil
		if k.kind == wire.WebSocket && c.over == 0 {
			return dst, true, false // on a slow path it would be long in coming with messages
		}
	}
	if c.over != 0 {
		return c.farewell(dst), false, true
	}
	now := time.Now()
	dst = k.controls(dst, now)
	if c.current == k && !k.aged {
		dst, more = c.draw(dst, most-controlRoom)
	}
	if k.kind != wire.Poll && c.up.news() && (k.urgent || len(dst) > was) {
		dst = c.up.tell(k == c.current).Append(dst)
	}
	k.urgent = false
	if len(dst) > was && k.kind != wire.WebSocket {
		k.seen.Seen(now)
	}
	return dst, more, k.aged
}

// farewell appends the GONE, unless the client has all there was.
func (c *client) farewell(dst []byte) []byte {
	if reason := c.over.String(); reason != closed {
		return gone(dst, reason)
	}
	return dst
}

// controls appends what is no message, but ACK.
func (k *carrier) controls(dst []byte, now time.Time) []byte {
	if k.ponged {
		k.ponged = false
		dst = wire.AppendPong(dst, k.mark[:k.marked])
	}
	if k.pinging {
		k.pinging = false
		k.seen.Sent(now)
		k.client.clock.by(k.client, k.due(now), now)
		dst = wire.AppendPing(dst, nil)
	}
	if at := k.client.goaway; !at.IsZero() && !k.warned && (k.kind != wire.Poll || !k.client.leaving()) {
		k.warned = true
		dst = wire.AppendGoaway(dst, uint64(max(0, at.Sub(now).Milliseconds())))
	}
	return dst
}
