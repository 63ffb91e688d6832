package resumable

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

// plain is a WebSocket to a server that is no sidecar (§3.1).
type plain struct {
	w        *websocket.Conn
	protocol string
	limit    time.Duration
	messages chan message
	ended    chan struct{} // closed behind the last message
	stop     chan struct{} // closed by closeNow
	stopOnce sync.Once
	release  context.CancelFunc
	writes   chan struct{}

	mu  sync.Mutex
	err error
}

// runPlain tries a WebSocket exactly as the application asked.
func (k *carrier) runPlain() error {
	c := k.c
	ctx, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(k.ctx, cancel)
	w, err := c.dialWebSocket(ctx, c.o.Subprotocols)
	stop() // whoever has it from now on ends it
	if err != nil {
		cancel()
		return err
	}
	return c.becomePlain(k, w, cancel)
}

var errPlain = errors.New("server is no sidecar")

// becomePlain makes the conversation that WebSocket's, if none was welcomed.
func (c *Conn) becomePlain(k *carrier, w *websocket.Conn, release context.CancelFunc) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.welcome != nil || c.err != nil || k.over {
		release()
		return errPlain
	}
	p := &plain{
		w: w, protocol: w.Subprotocol(), limit: c.o.CloseTimeout, release: release,
		messages: make(chan message), ended: make(chan struct{}), stop: make(chan struct{}), writes: make(chan struct{}, 1),
	}
	if p.protocol == wire.NoSubprotocol { // it stands for none
		p.protocol = ""
	}
	w.SetReadLimit(int64(c.o.MaxMessage))
	c.plain = p
	c.keep.told = Plain
	c.endLocked(errPlain, 0)
	go p.run()
	return errPlain
}

// run reads until the end.
func (p *plain) run() {
	defer close(p.ended)
	for {
		t, data, err := p.w.ReadMessage()
		if err == nil && t == websocket.TextMessage && !utf8.Valid(data) { // RFC 6455 §8.1
			p.closeWrite(websocket.CloseInvalidFramePayloadData, "")
			err = errors.New("a text message is no UTF-8")
		}
		if err != nil {
			p.end(p.told(err))
			p.release()
			return
		}
		select {
		case p.messages <- message{binary: t == websocket.BinaryMessage, data: data}:
		case <-p.stop:
			p.end(ErrClosed)
			p.release()
			return
		}
	}
}

// told is what a failed read says of the end.
func (p *plain) told(err error) error {
	select {
	case <-p.stop:
		return ErrClosed
	default:
	}
	if end := (*websocket.CloseError)(nil); errors.As(err, &end) && end.Code != websocket.CloseAbnormalClosure {
		return &CloseError{end.Code, end.Text}
	}
	return fmt.Errorf("reading: %w", err)
}

func (p *plain) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

func (p *plain) why() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *plain) read(ctx context.Context) (Type, []byte, error) {
	select {
	case m := <-p.messages:
		return typeOf(m.binary), m.data, nil
	case <-p.ended:
		return 0, nil, p.why()
	case <-ctx.Done():
		return 0, nil, fmt.Errorf("reading: %w", context.Cause(ctx))
	}
}

func (p *plain) write(ctx context.Context, t Type, data []byte) error {
	if err := hold(ctx, p.writes); err != nil {
		return err
	}
	defer func() { <-p.writes }()
	if err := p.why(); err != nil {
		return err
	}
	over, late := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(late); p.interrupt(over) })
	err := p.w.WriteMessage(int(t), data)
	close(over)
	if !stop() {
		<-late // or it would interrupt the next
	}
	switch {
	case errors.Is(err, websocket.ErrCloseSent):
		return ErrClosed
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("writing: %w", context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// interrupt ends a write that is under way. gorilla sets the deadline anew for each frame.
func (p *plain) interrupt(over <-chan struct{}) {
	for again := time.NewTicker(interruptEvery); ; {
		p.w.NetConn().SetWriteDeadline(time.Unix(1, 0))
		select {
		case <-over:
			again.Stop()
			return
		case <-again.C:
		}
	}
}

const interruptEvery = 10 * time.Millisecond

// closeWrite sends a close frame, once.
func (p *plain) closeWrite(code int, reason string) error {
	if err := p.why(); err != nil {
		return err
	}
	err := p.w.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(p.limit))
	if errors.Is(err, websocket.ErrCloseSent) {
		return nil
	}
	return err
}

func (p *plain) closeNow() error {
	p.stopOnce.Do(func() {
		p.w.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""), time.Now().Add(lastWrite))
		close(p.stop)
		p.release()
	})
	<-p.ended
	return nil
}

// meets: who chose this protocol is a server of it, and no plain WebSocket is wanted there.
func (c *Conn) meets() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep.met = true
}
