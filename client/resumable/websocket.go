package resumable

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

const (
	maxWrite   = 16 << 10         // bytes of frames in one WebSocket message: nothing waits long behind it, nor does a slow path look like silence
	writeLimit = 30 * time.Second // for one of these to be taken
	lastWrite  = 100 * time.Millisecond
	bufferSize = 4 << 10
)

var writeBuffers sync.Pool // of all WebSockets: idle ones have none

// dialWebSocket opens a WebSocket that offers protocols. Its connection is closed when
// ctx ends, then and later: the dialer alone would wait for a handshake's answer.
func (c *Conn) dialWebSocket(ctx context.Context, protocols []string) (*websocket.Conn, error) {
	var left atomic.Int64
	left.Store(maxHandshake)
	d := websocket.Dialer{
		NetDialContext: func(inner context.Context, network, addr string) (net.Conn, error) {
			conn, err := c.dialNet(inner, network, addr)
			if err != nil {
				return nil, err
			}
			context.AfterFunc(ctx, func() { conn.Close() })
			return &handshaking{conn, &left}, nil
		},
		TLSClientConfig: oneProtocol(c.o.TLS), Proxy: c.o.Proxy, Jar: c.client.Jar,
		Subprotocols: protocols, HandshakeTimeout: openLimit,
		ReadBufferSize: bufferSize, WriteBufferSize: bufferSize, WriteBufferPool: &writeBuffers,
	}
	w, r, err := d.DialContext(ctx, c.ws.String(), c.o.Header)
	if r != nil && errors.Is(err, websocket.ErrBadHandshake) {
		return nil, fmt.Errorf("opening: %w", &statusError{r.StatusCode, r.Header.Get("Content-Type")})
	}
	if err != nil {
		return nil, fmt.Errorf("opening: %w", err)
	}
	if chose := w.Subprotocol(); chose != "" && !slices.Contains(protocols, chose) { // RFC 6455 §4.1
		w.Close()
		return nil, fmt.Errorf("opening: server chose subprotocol %q, which was not offered", chose)
	}
	left.Store(math.MaxInt64)
	return w, nil
}

// maxHandshake is the most bytes that come before a WebSocket is open, TLS included.
// Nothing else bounds the headers of the answer.
const maxHandshake = 1 << 20

// A handshaking connection fails behind so many bytes.
type handshaking struct {
	net.Conn
	left *atomic.Int64
}

func (h *handshaking) Read(p []byte) (int, error) {
	if h.left.Load() <= 0 {
		return 0, fmt.Errorf("handshake of more than %d bytes", maxHandshake)
	}
	n, err := h.Conn.Read(p)
	h.left.Add(-int64(n))
	return n, err
}

// oneProtocol is a copy of given for WebSockets, which go by HTTP/1.1 alone: net/http adds
// HTTP/2 to the one it has.
func oneProtocol(given *tls.Config) *tls.Config {
	if given == nil {
		return nil
	}
	own := given.Clone()
	own.NextProtos = []string{"http/1.1"}
	return own
}

// dialNet opens a network connection, and learns how far the server is.
func (c *Conn) dialNet(ctx context.Context, network, addr string) (net.Conn, error) {
	start := time.Now()
	conn, err := c.o.DialContext(ctx, network, addr)
	if err == nil {
		c.mu.Lock()
		c.rtt = time.Since(start)
		c.mu.Unlock()
		signal(c.kick) // a race may go on earlier
	}
	return conn, err
}

// runWebSocket is the life of a WebSocket: this goroutine is its only writer.
func (k *carrier) runWebSocket() error {
	c := k.c
	ctx, cancel := context.WithCancel(context.Background()) // of the connection
	stop := context.AfterFunc(k.ctx, cancel)
	w, err := c.dialWebSocket(ctx, wire.Offered(c.o.Subprotocols))
	stop()
	if err != nil {
		cancel()
		return err
	}
	if w.Subprotocol() != wire.Subprotocol {
		return c.becomePlain(k, w, cancel)
	}
	c.meets()
	defer cancel()
	stop = context.AfterFunc(k.ctx, func() { time.AfterFunc(k.grace(), cancel) })
	defer stop()
	var reader sync.WaitGroup
	reader.Go(func() { k.lost(k.readWebSocket(w)) })
	defer reader.Wait()
	defer cancel()
	err = k.writeWebSocket(w)
	k.lost(err)
	if k.grace() > 0 {
		k.leave(w)
	}
	return err
}

// grace is how long the last write may take: none on a carrier that failed.
func (k *carrier) grace() time.Duration {
	switch context.Cause(k.ctx) {
	case errDropped, errStray, context.Canceled:
		return 3 * lastWrite
	}
	return 0
}

// leave says goodbye, for people who look.
func (k *carrier) leave(w *websocket.Conn) {
	soon := time.Now().Add(lastWrite)
	if k.stray != nil {
		w.SetWriteDeadline(soon)
		w.WriteMessage(websocket.BinaryMessage, wire.Close{Number: 1, Code: 1001}.Append(nil))
	}
	w.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), soon)
}

// readWebSocket takes what comes until the connection ends.
func (k *carrier) readWebSocket(w *websocket.Conn) error {
	w.SetReadLimit(wire.MaxBody)
	for {
		t, r, err := w.NextReader()
		var p []byte
		if err == nil {
			p, err = io.ReadAll(hearing{k, r})
		}
		switch {
		case err != nil:
			return fmt.Errorf("reading: %w", err)
		case t != websocket.BinaryMessage:
			return fmt.Errorf("%w: a text message", wire.ErrOrder)
		}
		for len(p) > 0 {
			var f wire.Frame
			if f, p, err = wire.Split(p); err != nil {
				return err
			}
			if err := k.hear(f, k.token); err != nil {
				return err
			}
		}
	}
}

// A hearing counts what comes as a sign of life: on a slow path a message may take
// longer than silence may last.
type hearing struct {
	k *carrier
	r io.Reader
}

func (h hearing) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if n > 0 {
		h.k.alive()
	}
	return n, err
}

// writeWebSocket sends the HELLO, and then what there is, until the carrier is over.
func (k *carrier) writeWebSocket(w *websocket.Conn) error {
	c := k.c
	c.mu.Lock()
	buf, err := c.helloLocked(k)
	c.mu.Unlock()
	for err == nil {
		if len(buf) > 0 {
			w.SetWriteDeadline(time.Now().Add(writeLimit))
			if err := w.WriteMessage(websocket.BinaryMessage, buf); err != nil {
				return fmt.Errorf("writing: %w", err)
			}
		} else {
			select {
			case <-k.wake:
			case <-k.ctx.Done():
				return context.Cause(k.ctx)
			}
		}
		buf = c.pull(k, buf[:0])
	}
	return err
}

// pull is what a WebSocket has to send now.
func (c *Conn) pull(k *carrier, buf []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.over || !k.proven() {
		return buf
	}
	up := c.upLocked(k)
	due := c.ackDue && k == c.used
	if (up || due || k.use) && c.in.news() {
		buf = c.in.tell().Append(buf)
	}
	if due {
		c.ackDue = false
	}
	up = up && !k.use && !k.ping // whose answer is waited for: on a slow path it would be long in coming behind messages
	if k.pong != nil {
		buf, k.pong = wire.AppendPong(buf, k.pong), nil
	}
	if k.use {
		buf, k.use = wire.Use{Turn: k.turn, Generation: k.born}.Append(buf), false
	}
	if k.ping {
		buf, k.ping = wire.AppendPing(buf, nil), false
	}
	if up {
		buf, k.at = c.out.append(buf, k.at, maxWrite)
	}
	if len(buf) == 0 {
		c.saidLocked(k)
	}
	return buf
}

// upLocked says whether k has messages to take up, or the CLOSE. Once the server has
// closed there is nothing to be said any more.
func (c *Conn) upLocked(k *carrier) bool {
	return k == c.used && c.in.closed == nil && c.out.pending(k.at)
}
