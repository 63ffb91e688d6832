package resumable

import (
	"sidecar/protocol/resume/wire"
)

// A position is a place among one direction's messages: so many bytes of that one.
type position struct {
	number uint64
	offset int
}

func (p position) before(q position) bool {
	return p.number < q.number || p.number == q.number && p.offset < q.offset
}

// An outbox keeps what goes up until it is acknowledged (§7.2). It is a pure value:
// carriers ask it for frames from where each of them stands.
type outbox struct {
	window uint64 // the server's
	kept   []message
	first  uint64      // number of kept[0], from 1
	gone   uint64      // what all messages before kept[0] counted for
	bytes  uint64      // of kept
	close  *wire.Close // behind the last message, once there is one
	sent   position    // all before it went by some carrier
	taken  position    // all before it is acknowledged, ahead and partial included
}

type message struct {
	binary bool
	data   []byte
	upto   uint64 // what it and all messages before it count for
}

func newOutbox() outbox {
	return outbox{first: 1, sent: position{1, 0}, taken: position{1, 0}}
}

// next is the number behind the last message.
func (o *outbox) next() uint64 { return o.first + uint64(len(o.kept)) }

// counted is what messages up to the number count for in all.
func (o *outbox) counted(number uint64) uint64 {
	if number < o.first || len(o.kept) == 0 {
		return o.gone
	}
	return o.kept[min(number-o.first, uint64(len(o.kept))-1)].upto
}

// across is what all that is acknowledged counts for.
func (o *outbox) across() uint64 { return o.counted(o.taken.number-1) + uint64(o.taken.offset) }

// full says that no message may be begun now (§7.5).
func (o *outbox) full() bool { return o.counted(o.next()-1)-o.gone >= o.window }

// add takes a message for good; data is kept.
func (o *outbox) add(binary bool, data []byte) {
	upto := o.counted(o.next()-1) + uint64(len(data)) + wire.Overhead
	o.kept = append(o.kept, message{binary, data, upto})
	o.bytes += uint64(len(data))
}

// finish adds the CLOSE; the first one counts.
func (o *outbox) finish(code int, reason string) {
	if o.close == nil {
		o.close = &wire.Close{Number: o.next(), Code: code, Reason: reason}
	}
}

// pending says whether a carrier that stands there has something to send.
func (o *outbox) pending(at position) bool {
	if at.before(o.taken) {
		at = o.taken
	}
	if at.number < o.next() {
		return o.mayBegin(at)
	}
	return o.close != nil && at.number == o.close.Number
}

// mayBegin: a window that shrank holds back also what was sent before.
func (o *outbox) mayBegin(at position) bool {
	return at.offset > 0 || o.counted(at.number-1)-o.gone < o.window
}

// maxClose is the most bytes of a CLOSE frame.
const maxClose = 136

// append adds frames of at most so many bytes for a carrier that stands there, and
// returns where it stands then.
func (o *outbox) append(dst []byte, at position, most int) ([]byte, position) {
	if at.before(o.taken) {
		at = o.taken
	}
	end := len(dst) + most
	for whole := true; whole && at.number < o.next() && o.mayBegin(at); {
		m := o.kept[at.number-o.first]
		dst, at.offset, whole = wire.AppendMessage(dst, at.number, m.binary, m.data, at.offset, end-len(dst))
		if whole {
			at = position{at.number + 1, 0}
		}
	}
	if o.close != nil && at.number == o.close.Number && end-len(dst) >= maxClose {
		dst = o.close.Append(dst)
		at.number++
	}
	if o.sent.before(at) {
		o.sent = at
	}
	return dst, at
}

// ack takes the server's word, and says whether there is room that was not there
// before. What is older than what is known is ignored (§7.4).
func (o *outbox) ack(a wire.Ack) (room bool, err error) {
	next := position{a.Next(), int(a.Partial)}
	if o.sent.before(next) {
		return false, breach(1002, "acknowledging message %d, byte %d: only %d, byte %d was sent", next.number, next.offset, o.sent.number, o.sent.offset)
	}
	if at := next.number; next.offset > 0 && at >= o.first && (at >= o.next() || next.offset >= len(o.kept[at-o.first].data)) {
		return false, breach(1002, "acknowledging byte %d of message %d, which has no more", next.offset, at)
	}
	if o.taken.before(next) {
		o.taken = next
	}
	return o.forget(a.Received), nil
}

func (o *outbox) forget(received uint64) (room bool) {
	for o.first <= received && len(o.kept) > 0 {
		o.gone = o.kept[0].upto
		o.bytes -= uint64(len(o.kept[0].data))
		o.kept[0] = message{}
		o.kept = o.kept[1:]
		o.first++
		room = true
	}
	return room
}
