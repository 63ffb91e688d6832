package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"sidecar/loop"
)

// A lane is one socket of a looped relay, with TLS upon it or without.
type lane struct {
	loop.Socket
	tls     *tls.Conn // nil: in clear
	late    *backlog  // what the socket did not take; the other end is not read meanwhile. Nil: nothing
	conn    io.Closer // the net.Conn that start takes the socket out of; then what finish closes, or nil
	budget  int32     // how much ciphertext may still be read in this turn
	replies int32     // how much crypto/tls wrote of its own accord in this turn, or since late has been there
	dear    uint8     // how often the budget is halved, for turns took long
	eof     bool      // it will not be read again
	shut    bool      // it was told that no more will come
	bye     bool      // TLS was, or cannot be told any more
	reading bool      // crypto/tls is reading: what it writes are answers of its own
}

// A backlog is what waits for a socket. There is one only while something does.
type backlog struct {
	b       []byte
	by      time.Time // when it is looked at whether something was taken
	moved   bool      // something was, since that was set
	doubted bool      // it was found stalled, and gets a second look
}

// turnBudget is how much ciphertext is read in one turn of a lane: two records of
// the largest size (RFC 8446 §5.2). The loop has others to serve, and what it
// leaves in the socket comes with the next turn.
const turnBudget = 2 * (16<<10 + 256 + 5)

// A turn that takes longer than longTurn has the next one's budget halved, down to 2
// KiB: how much work so much ciphertext is the peer chooses, and KeyUpdates that ask
// for no answer are a hundred times that of data.
const (
	longTurn = time.Millisecond
	maxDear  = 4
)

// maxReplies is how much crypto/tls may say of its own accord in one turn, and to an
// end that takes nothing: each KeyUpdate of the peer can ask for one in return (RFC
// 8446 §4.6.3). They are small, but 25 µs of work each while the loop's others wait.
const maxReplies = 4 << 10

// maxAsked is how much of an unfinished message of TLS's own is kept. After its
// handshake a client has only KeyUpdates to send, of 5 bytes, and a backend session
// tickets; but crypto/tls would wait for 256 KiB of anything.
const maxAsked = 16 << 10

var errAsked = errors.New("peer sends a TLS message that does not end")

// errAgain is loop.ErrWait as crypto/tls must see it: any other kind of error in
// reading breaks its connection for good.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return loop.ErrWait.Error() }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// errReplies ends a peer that asks and asks.
var errReplies = errors.New("peer asks for too many TLS answers")

// waits reports whether something waits for the socket.
func (l *lane) waits() bool { return l.late != nil }

// spent reports whether nothing more comes from the socket, and all reached it.
func (l *lane) spent() bool { return l.eof && !l.waits() }

// turn begins a turn of reading.
func (l *lane) turn() {
	l.budget = turnBudget >> l.dear
	if !l.waits() {
		l.replies = 0
	}
}

// turned ends a turn that took so long.
func (l *lane) turned(took time.Duration) {
	switch {
	case took > longTurn:
		l.dear = min(l.dear+1, maxDear)
	case l.dear > 0:
		l.dear--
	}
}

// read reads what came, loop.ErrWait with it or alone where there is no more now.
func (l *lane) read(b []byte) (n int, err error) {
	if l.tls == nil {
		return l.Socket.Read(b)
	}
	l.reading = true
	defer func() { l.reading = false }()
	for n < len(b) && err == nil {
		var m int
		m, err = l.tls.Read(b[n:])
		n += m
	}
	switch {
	case l.replies > maxReplies:
		l.bye, err = true, errReplies
	case err == errAgain && tlsBuffers.asked(l.tls) > maxAsked:
		err = errAsked
	case err == errAgain:
		err = loop.ErrWait
	}
	return n, err
}

// readCiphertext reads for crypto/tls. After a read that the socket did not fill
// it does not ask again: epoll will say so if there is more.
func (l *lane) readCiphertext(b []byte) (int, error) {
	if l.budget <= 0 {
		return 0, errAgain
	}
	n, err := l.Socket.Read(b[:min(len(b), int(l.budget))])
	l.budget -= int32(n)
	if n < len(b) {
		l.budget = 0
	}
	if err == loop.ErrWait {
		err = errAgain
	}
	return n, err
}

// write sends b, behind what still waits.
func (l *lane) write(b []byte) error {
	if l.tls == nil {
		return l.push(b)
	}
	_, err := l.tls.Write(b)
	return err
}

// writeCiphertext writes for crypto/tls, which must never see a write that is cut
// short: what the socket does not take waits.
func (l *lane) writeCiphertext(b []byte) (int, error) {
	if !l.Open() {
		return 0, net.ErrClosed
	}
	if l.reading {
		if l.replies += int32(len(b)); l.replies > maxReplies {
			return 0, errReplies
		}
	}
	return len(b), l.push(b)
}

// push gives b to the socket. What is not taken waits.
func (l *lane) push(b []byte) error {
	if l.waits() {
		l.late.b = append(l.late.b, b...)
		return nil
	}
	n, err := 0, error(io.ErrClosedPipe)
	if l.Open() {
		n, err = l.Socket.Write(b)
	}
	if err != nil && err != loop.ErrWait {
		return err
	}
	if n < len(b) {
		l.late = &backlog{b: bytes.Clone(b[n:]), moved: n > 0}
	}
	return nil
}

// flush gives the socket what waits, and reports whether it took any.
func (l *lane) flush() (moved bool, err error) {
	n, err := l.Socket.Write(l.late.b)
	if err != nil && err != loop.ErrWait {
		l.drop()
		return false, err
	}
	if n > 0 {
		l.late.moved, l.late.doubted = true, false
	}
	if l.late.b = l.late.b[n:]; len(l.late.b) == 0 {
		l.late = nil
	}
	return n > 0, nil
}

// drop forgets what waits. TLS cannot say anything after half a record.
func (l *lane) drop() { l.late, l.bye = nil, true }

// letGo drops what TLS holds beyond need.
func (l *lane) letGo() {
	if l.tls != nil {
		tlsBuffers.letGo(l.tls)
	}
}

// closeWrite says that no more will come, as far as that can be said now: TLS
// first (RFC 8446 §6.1), and the socket once it has taken that.
func (l *lane) closeWrite() {
	if l.tls != nil && !l.bye {
		l.bye = true
		l.tls.CloseWrite()
	}
	if !l.waits() {
		l.shut = true
		l.Socket.CloseWrite()
	}
}
