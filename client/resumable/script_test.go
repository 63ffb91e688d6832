package resumable

import (
	"bytes"
	"net/http"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

// socket takes a WebSocket, has its first message dealt with, and ends it.
func socket(w http.ResponseWriter, r *http.Request, deal func(c *websocket.Conn, p []byte)) {
	up := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}
	c, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	if _, p, err := c.ReadMessage(); err == nil {
		deal(c, p)
	}
}

// upgraded is a WebSocket whose first message is answered as said; nil is no answer.
func upgraded(w http.ResponseWriter, r *http.Request, answer func(p []byte) []byte) {
	socket(w, r, func(c *websocket.Conn, p []byte) {
		if b := answer(p); b != nil {
			c.WriteMessage(websocket.BinaryMessage, b)
			c.ReadMessage() // until the client goes
		}
	})
}

// welcomes answers the HELLO that p begins with.
func (f *fake) welcomes(c *websocket.Conn, p []byte) {
	hello, _, _ := wire.Split(p)
	_, _, answer := f.attach(hello.Body)
	c.WriteMessage(websocket.BinaryMessage, answer)
}

// ponged waits for the answer to an empty PING: till then what came before it may not have
// come.
func ponged(c *websocket.Conn) {
	for err, pong := error(nil), false; err == nil && !pong; {
		var p []byte
		_, p, err = c.ReadMessage()
		pong = bytes.Contains(p, wire.AppendPong(nil, nil))
	}
}

// toTheEnd takes what comes, and answers nothing.
func toTheEnd(c *websocket.Conn) {
	for err := error(nil); err == nil; {
		_, _, err = c.ReadMessage()
	}
}
