package wire

import "fmt"

// An Assembly puts one direction's messages together from their pieces, by
// whatever carriers these come: there is one for each direction of a session. It
// holds at most one message that is not whole yet. The zero value awaits message 1.
type Assembly struct {
	// Limit is the most bytes of one message. 0: none.
	Limit int64

	done   uint64 // all up to this number were whole
	begun  bool   // there is a piece of the next
	binary bool   // it
	closed bool   // the next number was a CLOSE's, and is in done
	held   []byte
}

// Add takes a piece. With the last one missing it returns the whole message; one
// that came in one piece is the piece's payload, which is lent. What came before is
// taken again without a word, so that a sender may start anew at any offset before
// what it knows to be there, on any carrier, and cut differently. The error is
// ErrGap, ErrContrary or ErrLarge; then nothing was taken.
func (a *Assembly) Add(d Data) (message []byte, whole bool, err error) {
	have, end := uint64(len(a.held)), d.Offset+uint64(len(d.Payload))
	switch {
	case d.Number <= a.done && !(a.closed && d.Number == a.done):
		return nil, false, nil
	case a.closed:
		return nil, false, fmt.Errorf("%w: message %d after the close %d", ErrContrary, d.Number, a.done)
	case d.Number > a.done+1 || d.Offset > have:
		return nil, false, fmt.Errorf("%w: byte %d of message %d, where byte %d of %d is awaited", ErrGap, d.Offset, d.Number, have, a.done+1)
	case a.begun && a.binary != d.Binary:
		return nil, false, fmt.Errorf("%w: text and binary in message %d", ErrContrary, d.Number)
	case a.begun && !d.More && end <= have:
		return nil, false, fmt.Errorf("%w: message %d ends at %d, and goes on at %d", ErrContrary, d.Number, end, have)
	case a.Limit > 0 && end > uint64(a.Limit):
		return nil, false, fmt.Errorf("%w: message %d has more than %d bytes", ErrLarge, d.Number, a.Limit)
	case d.More:
		a.hold(d, end)
		return nil, false, nil
	case !a.begun:
		a.done++
		return d.Payload, true, nil
	}
	a.hold(d, end)
	message = a.held
	a.done, a.begun, a.held = a.done+1, false, nil
	return message, true, nil
}

// hold adds what is new in d. Room grows with what has come, not with what is
// announced.
func (a *Assembly) hold(d Data, end uint64) {
	have := uint64(len(a.held))
	a.begun, a.binary = true, d.Binary
	if end <= have {
		return
	}
	a.held = append(a.held, d.Payload[have-d.Offset:]...)
}

// Close takes a CLOSE's number, behind which there is nothing more. taken is false
// for one that came before. The error is ErrGap or ErrContrary.
func (a *Assembly) Close(number uint64) (taken bool, err error) {
	switch {
	case a.closed && number == a.done:
		return false, nil
	case number > a.done+1 && !a.closed:
		return false, fmt.Errorf("%w: close %d, where %d is awaited", ErrGap, number, a.done+1)
	case number <= a.done || a.begun || a.closed:
		return false, fmt.Errorf("%w: close %d in the place of a message", ErrContrary, number)
	}
	a.done, a.closed = number, true
	return true, nil
}

// Ack is what to acknowledge where messages up to the number handed were handed on.
func (a *Assembly) Ack(handed uint64) Ack {
	return Ack{Received: handed, Ahead: a.done - min(handed, a.done), Partial: uint64(len(a.held))}
}

// Held is how many bytes of a message that is not whole yet are held.
func (a *Assembly) Held() int64 { return int64(len(a.held)) }
