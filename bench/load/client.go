//go:build linux

package load

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
)

// A voice is what one client says, and what it must hear in return: a payload
// that no other client has, and that differs from message to message.
type voice struct {
	frame []byte // masked, as it is sent
	want  []byte // the payload of the last that was sent
	text  bool   // want is an Engine.IO packet of text; see newText
	talk  *talk  // not nil: the message goes by a resumable session
	key   [4]byte
	seq   uint64
	hex   [16]byte // where seq is written in digits
}

// newVoice makes one whose messages have size bytes, 8 at least.
func newVoice(size int) *voice {
	v := &voice{want: make([]byte, max(size, 8))}
	for i := 0; i+8 <= len(v.want); i += 8 {
		binary.LittleEndian.PutUint64(v.want[i:], rand.Uint64())
	}
	binary.LittleEndian.PutUint32(v.key[:], rand.Uint32())
	v.frame = appendFrame(nil, opBinary, v.want, &v.key)
	return v
}

// next is the next message's frame.
func (v *voice) next() []byte {
	v.seq++
	front := v.frame[len(v.frame)-len(v.want):]
	if v.text {
		front = front[:1+copy(v.want[1:], fmt.Appendf(v.hex[:0], "%016x", v.seq))]
	} else {
		binary.BigEndian.PutUint64(v.want, v.seq)
		front = front[:8]
	}
	copy(front, v.want)
	mask(front, v.key)
	return v.frame
}

// check compares what came with what was sent.
func (v *voice) check(got []byte) error {
	if bytes.Equal(got, v.want) {
		return nil
	}
	if len(got) != len(v.want) {
		return fmt.Errorf("message %d came back with %d bytes; %d were sent", v.seq, len(got), len(v.want))
	}
	at := 0
	for got[at] == v.want[at] {
		at++
	}
	return fmt.Errorf("message %d came back with byte %d of %d as %#x; %#x was sent", v.seq, at, len(got), got[at], v.want[at])
}

// A client is one WebSocket client.
type client struct {
	s       *socket
	l       *loop
	voice   *voice
	accept  string // the awaited answer to the handshake; "" once it came
	waiting bool   // a message is on its way
	closing bool   // a close was sent
	closed  bool   // and answered
	// opened, heard and left are told of what happened. heard is given a
	// message's payload, which is only valid during the call.
	opened, left func(*client)
	heard        func(*client, []byte) error
}

// start connects c to addr as the n-th client and sends the handshake.
func (c *client) start(addr netip.AddrPort, n int) error {
	fd, err := dial(addr, n)
	if err != nil {
		return err
	}
	c.s = &socket{fd: fd, take: c.take, gone: c.gone}
	if err := c.l.join(c.s); err != nil {
		return err
	}
	path := "/bench"
	if c.voice.text {
		path = engineSocket
	}
	head, accept := handshake(addr.String(), path, c.offer())
	c.accept = accept
	c.s.write(head)
	return nil
}

// handshake is a client's for path at host, which offers subprotocols unless that is
// "", and the Sec-WebSocket-Accept it awaits.
func handshake(host, path, offer string) (head []byte, accept string) {
	if offer != "" {
		offer = "Sec-WebSocket-Protocol: " + offer + "\r\n"
	}
	var k [16]byte
	binary.LittleEndian.PutUint64(k[:], rand.Uint64())
	binary.LittleEndian.PutUint64(k[8:], rand.Uint64())
	key := base64.StdEncoding.EncodeToString(k[:])
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: " + key + "\r\nSec-WebSocket-Version: 13\r\n" + offer + "\r\n"), acceptFor(key)
}

// welcome takes the answer to a handshake off b, once it is whole. It must have
// chosen that subprotocol.
func welcome(b []byte, accept, chosen string) (rest []byte, err error) {
	head, rest, whole := bytes.Cut(b, []byte("\r\n\r\n"))
	switch {
	case !whole && len(b) > mostHead:
		return nil, errors.New("the handshake's answer has no end")
	case !whole:
		return b, errShort
	case !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")):
		return nil, fmt.Errorf("the handshake was answered with %q", head)
	case field(head, "Sec-WebSocket-Accept") != accept:
		return nil, fmt.Errorf("the handshake was answered with another's: %q; want %q", head, accept)
	}
	if p := field(head, "Sec-WebSocket-Protocol"); p != chosen {
		return nil, fmt.Errorf("the subprotocol %q was chosen; want %q", p, chosen)
	}
	return rest, nil
}

func (c *client) take(b []byte) ([]byte, error) {
	if c.accept != "" {
		rest, err := welcome(b, c.accept, c.chosen())
		if errors.Is(err, errShort) {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
		b, c.accept = rest, ""
		c.begin()
	}
	for {
		f, rest, err := cut(b, false)
		if errors.Is(err, errShort) {
			return b, nil
		}
		if err == nil {
			err = c.act(f)
		}
		if err != nil || c.s.fd < 0 {
			return nil, err
		}
		b = rest
	}
}

func (c *client) act(f frame) error {
	switch {
	case f.op == opText && c.voice.text:
		return c.packet(f.payload)
	case f.op == opBinary && c.voice.talk != nil:
		return c.parts(f.payload)
	case f.op == opBinary && !c.voice.text:
		return c.heard(c, f.payload)
	}
	switch f.op {
	case opPing:
		c.s.write(appendFrame(nil, opPong, f.payload, &c.voice.key))
	case opPong:
	case opClose:
		if !c.closing || c.closed {
			return fmt.Errorf("a close came unasked: %q", f.payload)
		}
		c.closed = true // the server ends the connection (RFC 6455 section 7.1.1)
	default:
		return fmt.Errorf("opcode %#x came that nobody sent", f.op)
	}
	return nil
}

func (c *client) gone(err error) {
	if c.closed && errors.Is(err, io.EOF) {
		c.left(c)
		return
	}
	c.l.fail(fmt.Errorf("client: %w", err))
}

// say sends the next message.
func (c *client) say() {
	c.waiting = true
	frame := c.voice.next()
	if t := c.voice.talk; t != nil {
		frame = appendFrame(nil, opBinary, t.say(t.ack(nil), c.voice.want), &c.voice.key)
	}
	c.s.write(frame)
}

// echo is what is to be heard when it is an echo.
func (c *client) echo(got []byte) error {
	if !c.waiting {
		return errors.New("a message came that nobody sent")
	}
	c.waiting = false
	return c.voice.check(got)
}

// leave begins the closing handshake with 1000.
func (c *client) leave() {
	c.closing = true
	c.s.write(appendFrame(nil, opClose, []byte{0x03, 0xe8}, &c.voice.key))
}
