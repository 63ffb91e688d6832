package test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gorilla/websocket"
)

// flush sends what is queued, in batches as large as the server takes.
func (e *engine) flush() {
	for {
		batch, ws := e.next()
		if batch == nil {
			return
		}
		var err error
		if ws != nil {
			err = e.write(ws, batch)
		} else {
			err = e.send(batch)
		}
		if err == nil && batch[0].kind == '1' && ws == nil {
			err = errLeft
		}
		e.mu.Lock()
		e.busy = false
		e.change.Broadcast()
		e.mu.Unlock()
		if err != nil {
			e.fail(err)
			return
		}
	}
}

// next waits for what is to be sent: as much as one POST may hold, leaving by itself.
func (e *engine) next() ([]frame, *websocket.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for (len(e.queue) == 0 || e.held) && e.err == nil {
		e.change.Wait()
	}
	if e.err != nil {
		return nil, nil
	}
	n, size := 0, 0
	for n < len(e.queue) {
		f := e.queue[n]
		size += 2 + (len(f.data)+2)/3*4
		if n > 0 && (size > e.hello.MaxPayload || f.kind == '1') {
			break
		}
		e.bytes -= len(f.data)
		n++
		if f.kind == '1' {
			e.left = true
			break
		}
	}
	batch := e.queue[:n:n]
	e.queue = e.queue[n:]
	e.busy = true
	e.change.Broadcast()
	return batch, e.ws
}

// send makes one POST.
func (e *engine) send(batch []frame) error {
	var b strings.Builder
	for i, f := range batch {
		if i > 0 {
			b.WriteByte(0x1e)
		}
		f.encode(&b)
	}
	status, answer, err := e.post.do("POST", e.target("polling"), []byte(b.String()))
	if err == nil && (status != 200 || string(answer) != "ok") {
		err = fmt.Errorf("a POST got status %d: %s", status, answer)
	}
	return err
}

func (e *engine) write(ws *websocket.Conn, batch []frame) error {
	for _, f := range batch {
		var err error
		switch f.kind {
		case 'b':
			err = ws.WriteMessage(websocket.BinaryMessage, f.data)
		case '1': // a stock client closes its WebSocket without a code
			err = ws.WriteMessage(websocket.CloseMessage, nil)
		default:
			err = ws.WriteMessage(websocket.TextMessage, append([]byte{f.kind}, f.data...))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// listen reads the WebSocket of the session.
func (e *engine) listen(ws *websocket.Conn) {
	for {
		kind, b, err := ws.ReadMessage()
		if err != nil {
			e.fail(err)
			return
		}
		f := frame{'b', b}
		if kind == websocket.TextMessage {
			if len(b) == 0 {
				e.fail(errors.New("an empty packet came"))
				return
			}
			f = frame{b[0], b[1:]}
		}
		if !e.take(f) {
			return
		}
	}
}

// upgrade changes from polling to WebSocket, as a stock client does: it probes,
// lets its GET and POST come to their ends, and goes over. Until then a failure
// leaves the session as it was.
func (e *engine) upgrade() error {
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.upgrading = false
		e.change.Broadcast()
	}()
	ws, err := e.dial()
	if err != nil {
		return fmt.Errorf("upgrading: %w", err)
	}
	if err := probe(ws); err != nil {
		ws.Close()
		return fmt.Errorf("upgrading: %w", err)
	}
	if !e.settle() {
		ws.Close()
		return e.err
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte("5")); err != nil {
		e.fail(err) // which of the two it is on, nobody knows
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		ws.Close()
		return e.err
	}
	e.ws, e.held = ws, false
	e.change.Broadcast()
	go e.listen(ws)
	return nil
}

func probe(ws *websocket.Conn) error {
	if err := ws.WriteMessage(websocket.TextMessage, []byte("2probe")); err != nil {
		return err
	}
	_, b, err := ws.ReadMessage()
	if err == nil && string(b) != "3probe" {
		err = fmt.Errorf("the probe was answered by %q", b)
	}
	return err
}

// settle waits until no request of ours is under way, and lets none begin. It
// reports whether the session is still there.
func (e *engine) settle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = true
	for (e.polled || e.busy) && e.err == nil {
		e.change.Wait()
	}
	return e.err == nil
}
