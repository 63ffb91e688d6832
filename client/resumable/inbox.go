package resumable

import (
	"errors"
	"unicode/utf8"

	"sidecar/protocol/resume/wire"
)

// An inbox is what comes down: put together, and kept until it is read. It is a pure
// value, shared by all carriers of a session.
type inbox struct {
	window  uint64
	pieces  wire.Assembly
	queue   []message
	waiting uint64      // what queue counts for
	handed  uint64      // messages up to this number were read
	closed  *wire.Close // the server's
	told    wire.Ack    // what was acknowledged last
	came    uint64      // what the messages count for that came since
	given   uint64      // and those that were read since
	took    uint64      // what all that came counts for
}

func newInbox(window, limit uint64) inbox {
	return inbox{window: window, pieces: wire.Assembly{Limit: int64(limit)}}
}

// data takes a piece. An error that is no fault ends only the carrier.
func (i *inbox) data(d wire.Data) error {
	before := i.pieces.Ack(0)
	if d.Number == before.Next() && i.pieces.Held() == 0 && i.waiting >= i.window {
		return breach(1002, "message %d was begun beyond a full window", d.Number)
	}
	held := i.pieces.Held()
	m, whole, err := i.pieces.Add(d)
	switch {
	case errors.Is(err, wire.ErrContrary):
		return breach(1002, "%w", err)
	case errors.Is(err, wire.ErrLarge):
		return breach(1009, "%w", err)
	case err != nil:
		return err
	case !whole:
		i.count(uint64(max(i.pieces.Held()-held, 0)))
		return nil
	case !d.Binary && !utf8.Valid(m):
		return breach(1007, "message %d is text, but no UTF-8", d.Number)
	}
	if held == 0 {
		m = append([]byte(nil), m...) // it was lent
	}
	i.count(uint64(len(m)) - uint64(held) + wire.Overhead)
	i.waiting += uint64(len(m)) + wire.Overhead
	i.queue = append(i.queue, message{binary: d.Binary, data: m})
	return nil
}

func (i *inbox) count(n uint64) {
	i.came += n
	i.took += n
}

// close takes the server's CLOSE.
func (i *inbox) close(c wire.Close) error {
	taken, err := i.pieces.Close(c.Number)
	if errors.Is(err, wire.ErrContrary) {
		return breach(1002, "%w", err)
	}
	if taken {
		i.closed = &c
	}
	return err
}

// read hands on the oldest message.
func (i *inbox) read() (m message, ok bool) {
	if len(i.queue) == 0 {
		return m, false
	}
	m = i.queue[0]
	i.queue[0] = message{}
	i.queue = i.queue[1:]
	n := uint64(len(m.data)) + wire.Overhead
	i.waiting -= n
	i.given += n
	i.handed++
	return m, true
}

// ack is what there is to acknowledge. A CLOSE is at once, whatever waits to be read
// before it (§8.3).
func (i *inbox) ack() wire.Ack {
	if i.closed != nil {
		return i.pieces.Ack(i.closed.Number)
	}
	return i.pieces.Ack(i.handed)
}

func (i *inbox) news() bool { return i.ack() != i.told }

// due says that an ACK must go at once (§7.4).
func (i *inbox) due(window uint64) bool {
	return i.news() && (i.closed != nil || i.came >= window/2 || i.given >= window/2)
}

// tell is ack, for who sends it now.
func (i *inbox) tell() wire.Ack {
	i.told, i.came, i.given = i.ack(), 0, 0
	return i.told
}

// untold: what was acknowledged last may not have come.
func (i *inbox) untold() { i.told = wire.Ack{} }
