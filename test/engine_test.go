package test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// An engine is an Engine.IO client of our own. It does what a stock one does,
// and breaks where a test wants it to. It is a line.
type engine struct {
	addr, host, query string
	get, post         hop
	hello             hello
	inbox             chan frame
	over              chan struct{} // closed when err is set
	idle              *time.Timer   // ends it when no ping comes

	mu        sync.Mutex
	change    sync.Cond
	queue     []frame // to be sent
	bytes     int     // in queue
	busy      bool    // some of it is being sent
	held      bool    // no writing and no new poll: an upgrade is under way
	polled    bool    // whether a GET is pending
	upgrading bool    // whether it will upgrade, if it can
	ws        *websocket.Conn
	left      bool
	err       error
}

// hello is what the server says first.
type hello struct {
	SID                       string
	Upgrades                  []string
	PingInterval, PingTimeout int // in milliseconds
	MaxPayload                int
}

// A frame is one packet: its type, or 'b' for a binary message, and its data.
type frame struct {
	kind byte
	data []byte
}

var (
	errServerLeft  = errors.New("closed by the server")
	errPingTimeout = errors.New("no ping came")
)

// newEngine makes a client that dials addr and asks for host, with query as the
// application's own.
func newEngine(addr, host, query string) *engine {
	e := &engine{
		addr: addr, host: host, query: query,
		get: hop{addr: addr, host: host}, post: hop{addr: addr, host: host},
		inbox: make(chan frame), over: make(chan struct{}),
	}
	e.change.L = &e.mu
	return e
}

func (e *engine) target(transport string) string {
	t := "/engine.io/?EIO=4&transport=" + transport + "&" + e.query
	if e.hello.SID != "" {
		t += "&sid=" + e.hello.SID
	}
	return t
}

// openPolling makes the handshake and starts to poll.
func (e *engine) openPolling() error {
	status, body, err := e.get.do("GET", e.target("polling"), nil)
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d: %s", status, body)
	}
	if err != nil {
		e.reset()
		return fmt.Errorf("opening by polling: %w", err)
	}
	first, rest, more := bytes.Cut(body, []byte{0x1e})
	if err := e.greet(first); err != nil {
		e.reset()
		return err
	}
	e.polled = true // as good as: an upgrade is to wait for what came with the handshake
	go e.poll(rest, more)
	go e.flush()
	return nil
}

// openWebSocket opens a session that is on WebSocket from the start.
func (e *engine) openWebSocket() error {
	ws, err := e.dial()
	if err != nil {
		return err
	}
	_, b, err := ws.ReadMessage()
	if err == nil {
		err = e.greet(b)
	}
	if err != nil {
		ws.Close()
		return fmt.Errorf("opening by WebSocket: %w", err)
	}
	e.ws = ws
	go e.listen(ws)
	go e.flush()
	return nil
}

func (e *engine) dial() (*websocket.Conn, error) {
	d := websocket.Dialer{HandshakeTimeout: patience, NetDial: func(network, _ string) (net.Conn, error) { return net.Dial(network, e.addr) }}
	ws, resp, err := d.Dial("ws://"+e.host+e.target("websocket"), nil)
	if err != nil && resp != nil {
		return nil, fmt.Errorf("dialing: status %d", resp.StatusCode)
	}
	return ws, err
}

func (e *engine) greet(b []byte) error {
	if len(b) == 0 || b[0] != '0' {
		return fmt.Errorf("the first packet is %q", b)
	}
	if err := json.Unmarshal(b[1:], &e.hello); err != nil {
		return fmt.Errorf("reading the first packet: %w", err)
	}
	e.idle = time.AfterFunc(e.silence(), func() { e.fail(errPingTimeout) })
	return nil
}

func (e *engine) silence() time.Duration {
	return time.Duration(e.hello.PingInterval+e.hello.PingTimeout) * time.Millisecond
}

// poll polls until the end or the upgrade. rest is what came with the handshake.
func (e *engine) poll(rest []byte, more bool) {
	if more && !e.takeAll(rest) {
		return
	}
	for e.mayPoll() {
		status, body, err := e.get.do("GET", e.target("polling"), nil)
		if err == nil && status != 200 {
			err = fmt.Errorf("a poll got status %d: %s", status, body)
		}
		if err != nil {
			e.fail(err)
			return
		}
		if !e.takeAll(body) {
			return
		}
	}
}

// mayPoll reports whether to poll again.
func (e *engine) mayPoll() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.polled = !e.held && e.err == nil
	e.change.Broadcast()
	return e.polled
}

func (e *engine) takeAll(body []byte) bool {
	for p := range bytes.SplitSeq(body, []byte{0x1e}) {
		if len(p) == 0 {
			e.fail(errors.New("an empty packet came"))
			return false
		}
		f := frame{p[0], p[1:]}
		if f.kind == 'b' {
			b, err := base64.StdEncoding.DecodeString(string(f.data))
			if err != nil {
				e.fail(err)
				return false
			}
			f.data = b
		}
		if !e.take(f) {
			return false
		}
	}
	return true
}

// take obeys one packet, and reports whether to go on.
func (e *engine) take(f frame) bool {
	switch f.kind {
	case '1':
		e.fail(errServerLeft)
		return false
	case '2':
		e.idle.Reset(e.silence())
		e.put(frame{'3', f.data})
	case '4', 'b':
		select {
		case e.inbox <- f:
		case <-e.over:
			return false
		}
	case '6':
	default:
		e.fail(fmt.Errorf("a packet of type %q came", f.kind))
		return false
	}
	return true
}

// fail ends the client, and all its connections.
func (e *engine) fail(err error) {
	e.mu.Lock()
	if e.err == nil {
		if e.left {
			err = errLeft
		}
		e.err = err
		close(e.over)
	}
	ws := e.ws
	e.change.Broadcast()
	e.mu.Unlock()
	if e.idle != nil {
		e.idle.Stop()
	}
	e.get.close(false)
	e.post.close(false)
	if ws != nil {
		ws.Close()
	}
}

// reset ends every connection by a RST.
func (e *engine) reset() {
	e.get.close(true)
	e.post.close(true)
	e.mu.Lock()
	ws := e.ws
	e.mu.Unlock()
	if ws != nil {
		reset(ws)
	}
}

func (e *engine) ReadMessage() (int, []byte, error) {
	select {
	case f := <-e.inbox:
		if f.kind == 'b' {
			return websocket.BinaryMessage, f.data, nil
		}
		return websocket.TextMessage, f.data, nil
	case <-e.over:
		return 0, nil, e.err
	}
}

func (e *engine) WriteMessage(kind int, b []byte) error {
	f := frame{'4', b}
	if kind == websocket.BinaryMessage {
		f.kind = 'b'
	}
	e.mu.Lock()
	for e.bytes > 64<<10 && e.err == nil { // a stock client would queue without bound
		e.change.Wait()
	}
	err := e.err
	e.mu.Unlock()
	if err != nil {
		return err
	}
	e.put(f)
	return nil
}

// WriteControl leaves, behind all that was written before.
func (e *engine) WriteControl(kind int, _ []byte, _ time.Time) error {
	if kind != websocket.CloseMessage {
		return fmt.Errorf("control frames of type %d have no place here", kind)
	}
	e.put(frame{kind: '1'})
	return nil
}

// Close breaks off.
func (e *engine) Close() error {
	e.fail(net.ErrClosed)
	return nil
}

func (e *engine) put(f frame) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue = append(e.queue, f)
	e.bytes += len(f.data)
	e.change.Broadcast()
}

// encode is f as it goes by polling.
func (f frame) encode(b *strings.Builder) {
	b.WriteByte(f.kind)
	if f.kind == 'b' {
		b.WriteString(base64.StdEncoding.EncodeToString(f.data))
		return
	}
	b.Write(f.data)
}
