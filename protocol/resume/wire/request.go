package wire

import (
	"errors"
	"fmt"
)

// ErrOrder: a frame stands where it may not.
var ErrOrder = errors.New("frame out of place")

// CheckBody reports what is wrong with the body of a request, or with the first
// message of a WebSocket: which frames it has, in what order, and what is in each.
// It is to be asked before any of a body counts (§3.2).
func CheckBody(k Kind, body []byte) error {
	first, err := checkFirst(k, &body)
	if err != nil {
		return err
	}
	for n := 1; len(body) > 0; n++ {
		f, rest, err := Split(body)
		if err != nil {
			return err
		}
		switch {
		case first.alone:
			return fmt.Errorf("%w: %v behind a HELLO that opens", ErrOrder, f.Type)
		case first.acks && n == 1 && f.Type != TypeAck:
			return fmt.Errorf("%w: %v, where ACK is due", ErrOrder, f.Type)
		}
		if err := CheckNext(f); err != nil {
			return err
		}
		body = rest
		first.acks = first.acks && n != 1
	}
	if first.acks {
		return fmt.Errorf("%w: nothing, where ACK is due", ErrOrder)
	}
	return nil
}

// CheckNext reports what is wrong with a frame of a client's that is not the first
// of its request or WebSocket.
func CheckNext(f Frame) (err error) {
	switch f.Type {
	case TypeData:
		_, err = ParseData(f.Body)
	case TypeAck:
		_, err = ParseAck(f.Body)
	case TypeClose:
		_, err = ParseClose(f.Body)
	case TypeUse:
		_, err = ParseUse(f.Body)
	case TypeHello, TypeContinue:
		return fmt.Errorf("%w: %v that is not the first", ErrOrder, f.Type)
	default:
		if !f.Type.FromClient() {
			return fmt.Errorf("%w: %v of a client", ErrOrder, f.Type)
		}
	}
	return err
}

// opener says what the first frame asks of those behind it.
type opener struct {
	alone bool // there are none
	acks  bool // the next is an ACK
}

// checkFirst takes the first frame off body.
func checkFirst(k Kind, body *[]byte) (o opener, err error) {
	if len(*body) == 0 {
		return o, fmt.Errorf("%w: nothing, where a carrier is to be named", ErrOrder)
	}
	f, rest, err := Split(*body)
	if err != nil {
		return o, err
	}
	*body = rest
	switch {
	case f.Type == TypeHello && k != Send:
		h, err := ParseHello(f.Body)
		return opener{alone: err == nil && h.Session == ""}, err
	case f.Type == TypeContinue && (k == Poll || k == Send):
		_, err := ParseContinue(f.Body)
		return opener{acks: true}, err
	}
	return o, fmt.Errorf("%w: %v begins a %s", ErrOrder, f.Type, k)
}
