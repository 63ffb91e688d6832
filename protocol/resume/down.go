package resume

import (
	"fmt"

	"sidecar/protocol/resume/wire"
	"sidecar/session"
)

// A down is what goes to the client: what of it was sent and is not acknowledged, and
// where the carrier in use is. The client's lock guards it.
type down struct {
	window int64    // the client's (§7.5)
	acked  uint64   // handed to the application: all up to this
	at     wire.Ack // what the client has, by its latest word
	begun  uint64   // the highest number of which something was sent
	sent   uint64   // the highest that was sent to its end
	part   int      // bytes that were sent of the one behind, the most so far
	sizes  []int64  // what messages count for, from acked + 1 to begun
	open   int64    // all of them

	// Where the carrier in use is.
	space  *[batch]session.Message // what all is in, where it has room; nil: nothing is
	all    []session.Message       // taken, and not yet sent to the end
	number uint64                  // of the first
	offset int                     // in it
	close  *session.Close          // behind them
	last   uint64                  // its number
}

// rewind forgets where the carrier in use was.
func (d *down) rewind() {
	d.free()
	d.close, d.number, d.offset = nil, 0, 0
}

// free gives the space for messages back.
func (d *down) free() {
	if d.space != nil {
		clear(d.space[:])
		batches.Put(d.space)
		d.space = nil
	}
	d.all = nil
}

// load takes messages from the session, if none are left, and reports whether there
// is something to send. The caller holds mu.
func (c *client) load() bool {
	d := &c.down
	for len(d.all) == 0 && d.close == nil {
		d.free()
		if c.reader == nil {
			return false
		}
		space := batches.Get().(*[batch]session.Message)
		b, err := c.reader.Take(space[:0], batchBytes)
		if err != nil || len(b.Messages) == 0 && b.Close == nil {
			batches.Put(space)
			return false // it has ended, or is to be replaced, or there is nothing
		}
		d.space, d.all, d.number, d.offset = space, b.Messages, b.First, 0
		if b.Close != nil {
			d.close, d.last = b.Close, b.Last()
			c.heard = b.Close
		}
		d.skip()
	}
	return true
}

// skip passes over what the client has, though it may not be handed on: only that
// is forgotten by the session.
func (d *down) skip() {
	next := d.at.Next()
	for len(d.all) > 0 && d.number < next {
		d.shift()
	}
	if len(d.all) > 0 && d.number == next && d.offset == 0 && d.at.Partial < uint64(len(d.all[0].Data)) {
		d.offset = int(d.at.Partial)
	}
	if d.close != nil && d.last < next {
		d.close = nil
	}
}

// shift goes on to the next message.
func (d *down) shift() {
	d.all[0] = session.Message{}
	d.all = d.all[1:]
	d.number++
	d.offset = 0
}

// draw appends what there is to send, up to a length of dst of most. more: it is not
// all. The caller holds mu, and has the carrier in use.
func (c *client) draw(dst []byte, most int) (out []byte, more bool) {
	d := &c.down
	for c.load() {
		if len(d.all) == 0 {
			if most-len(dst) < closeRoom {
				return dst, true
			}
			dst = wire.Close{Number: d.last, Code: d.close.Code, Reason: d.close.Reason}.Append(dst)
			d.begin(d.last, wire.Overhead)
			d.sent, d.part = max(d.sent, d.last), 0
			d.close = nil
			continue
		}
		m := d.all[0]
		if d.number > d.begun && d.open >= d.window {
			return dst, false // until it has acknowledged some
		}
		var next int
		var whole bool
		dst, next, whole = wire.AppendMessage(dst, d.number, m.Binary, m.Data, d.offset, most-len(dst))
		if !whole && next == d.offset {
			return dst, true
		}
		d.begin(d.number, counts(m))
		d.offset = next
		if !whole {
			if d.number > d.sent {
				d.part = max(d.part, next)
			}
			return dst, true
		}
		if d.number > d.sent {
			d.sent, d.part = d.number, 0
		}
		d.shift()
	}
	return dst, false
}

// closeRoom is the most bytes that a CLOSE takes.
const closeRoom = 140

// begin counts a message, if it is sent for the first time.
func (d *down) begin(number uint64, size int64) {
	if number > d.begun {
		d.begun = number
		d.sizes = append(d.sizes, size)
		d.open += size
	}
}

// ack takes the client's word on what it has. acked is what the session may forget;
// 0: nothing new.
func (d *down) ack(a wire.Ack) (acked uint64, err error) {
	next := a.Next()
	switch {
	case next > d.sent+1:
		return 0, fmt.Errorf("%w: %d + %d, where %d were sent", errAck, a.Received, a.Ahead, d.sent)
	case a.Received < d.acked:
		return 0, nil // it came late
	case a.Partial > 0 && !d.holds(next, a.Partial):
		return 0, fmt.Errorf("%w: byte %d of message %d", errAck, a.Partial, next)
	}
	if now := d.at.Next(); next > now || next == now && a.Partial > d.at.Partial {
		d.at = a
	}
	if a.Received == d.acked {
		return 0, nil
	}
	d.forget(a.Received)
	return a.Received, nil
}

// holds reports whether so many bytes of a message were sent, and it has more.
func (d *down) holds(number, partial uint64) bool {
	if number > d.begun || number <= d.acked {
		return false
	}
	size := uint64(d.sizes[number-d.acked-1] - wire.Overhead)
	return partial < size && (number <= d.sent || partial <= uint64(d.part))
}

// forget drops what was acknowledged.
func (d *down) forget(to uint64) {
	n := int(to - d.acked)
	for _, size := range d.sizes[:n] {
		d.open -= size
	}
	d.acked = to
	if d.sizes = d.sizes[n:]; len(d.sizes) == 0 {
		d.sizes = nil
	}
	for len(d.all) > 0 && d.number <= to {
		d.shift()
	}
	if len(d.all) == 0 {
		d.free()
	}
}

// ahead reports whether something was sent that the client does not have.
func (d *down) ahead() bool { return d.at.Next() != d.sent+1 || d.at.Partial != uint64(d.part) }
