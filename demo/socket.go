package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// A socket is one accepted connection.
type socket struct {
	conn *websocket.Conn
	most int64 // bytes of one message, inflated
	free func()
}

// A closing is an error that the peer is told in a close frame.
type closing struct {
	code   int
	reason string
}

func (c *closing) Error() string { return fmt.Sprintf("closing with %d %q", c.code, c.reason) }

// run hands each message to take while pump sends, until either ends, and
// returns when nothing of the connection is left. A closing from either is sent.
func (s *socket) run(take func(kind int, p []byte) error, pump func(context.Context) error) {
	defer s.free()
	defer s.conn.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var pumping sync.WaitGroup
	pumping.Go(func() { s.pumped(ctx, pump) })
	s.sayClose(s.read(take))
	cancel()
	pumping.Wait()
	s.linger()
}

// pumped is the sending goroutine. When pump gives up before the reader does,
// the peer has lingerFor to answer; then the reader is cut off.
func (s *socket) pumped(ctx context.Context, pump func(context.Context) error) {
	s.sayClose(pump(ctx))
	select {
	case <-ctx.Done():
	case <-time.After(lingerFor):
		s.conn.Close()
	}
}

// read hands over messages until it fails. The deadline is for a whole message,
// so a peer that sends one byte at a time is not kept for ever.
func (s *socket) read(take func(int, []byte) error) error {
	s.conn.SetPongHandler(func(string) error { return s.renew() })
	for {
		if err := s.renew(); err != nil {
			return err
		}
		kind, p, err := s.message()
		if err != nil {
			return err
		}
		if err := take(kind, p); err != nil {
			return err
		}
	}
}

func (s *socket) renew() error { return s.conn.SetReadDeadline(time.Now().Add(readIn)) }

// message reads one message. Its own limit is there because the library's counts
// bytes of the wire, of which a thousandth can inflate to more than we have.
func (s *socket) message() (kind int, p []byte, err error) {
	kind, r, err := s.conn.NextReader()
	if err != nil {
		return 0, nil, err
	}
	p, err = io.ReadAll(io.LimitReader(r, s.most+1))
	switch {
	case err != nil:
		return 0, nil, err
	case int64(len(p)) > s.most:
		return 0, nil, &closing{websocket.CloseMessageTooBig, fmt.Sprintf("more than %d bytes", s.most)}
	case kind == websocket.TextMessage && !utf8.Valid(p):
		return 0, nil, &closing{websocket.CloseInvalidFramePayloadData, "not UTF-8"}
	}
	return kind, p, nil
}

// write sends one message. One goroutine at a time may.
func (s *socket) write(kind int, p []byte) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(writeIn)); err != nil {
		return err
	}
	return s.conn.WriteMessage(kind, p)
}

// ping may run beside write.
func (s *socket) ping() error {
	return s.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeIn))
}

// beat is the pump of a connection that only answers.
func (s *socket) beat(ctx context.Context) error {
	beat := time.NewTicker(pingEvery)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			if err := s.ping(); err != nil {
				return err
			}
		}
	}
}

// sayClose sends the close frame that err asks for, if it asks for one. A second
// one is not sent: the library refuses to write after a close.
func (s *socket) sayClose(err error) {
	var c *closing
	if !errors.As(err, &c) {
		return
	}
	frame := websocket.FormatCloseMessage(c.code, c.reason)
	_ = s.conn.WriteControl(websocket.CloseMessage, frame, time.Now().Add(writeIn)) // the peer may be gone
}

// linger ends our half and waits for the peer to end its own: a socket closed
// over unread bytes is reset, and the reset overtakes our close frame.
func (s *socket) linger() {
	c := s.conn.NetConn()
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	if c.SetReadDeadline(time.Now().Add(lingerFor)) == nil {
		_, _ = io.Copy(io.Discard, c)
	}
}
