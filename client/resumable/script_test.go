package resumable

import (
	"net/http"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

// upgraded takes a WebSocket, answers its first message as said, and ends it; nil is no
// answer.
func upgraded(w http.ResponseWriter, r *http.Request, answer func(p []byte) []byte) {
	up := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}
	c, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	_, p, err := c.ReadMessage()
	if err != nil {
		return
	}
	if b := answer(p); b != nil {
		c.WriteMessage(websocket.BinaryMessage, b)
		c.ReadMessage() // until the client goes
	}
}
