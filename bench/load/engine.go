//go:build linux

package load

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// Where the Engine.IO server is, and what asks it for each transport.
const (
	engineSocket  = "/engine.io/?EIO=4&transport=websocket"
	enginePolling = "/engine.io/?EIO=4&transport=polling"
)

// newText is a voice that speaks Engine.IO: each message is the packet of a text
// of size bytes, 16 at least.
func newText(size int) *voice {
	v := &voice{want: make([]byte, 1+max(size, 16)), text: true}
	v.want[0] = '4'
	for i := range v.want[1:] {
		v.want[1+i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz012345679-_"[rand.N(63)]
	}
	v.key = [4]byte{byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32())}
	v.frame = appendFrame(nil, opText, v.want, &v.key)
	return v
}

// opening is the id of the session that packet opens.
func opening(packet []byte) (sid string, err error) {
	var o struct {
		SID          string
		PingInterval int
		PingTimeout  int
	}
	if len(packet) == 0 || packet[0] != '0' {
		return "", fmt.Errorf("a session was opened with %q", packet)
	}
	if err := json.Unmarshal(packet[1:], &o); err != nil {
		return "", fmt.Errorf("reading %q: %w", packet, err)
	}
	if o.SID == "" || o.PingInterval <= 0 || o.PingTimeout <= 0 {
		return "", fmt.Errorf("a session was opened with %q", packet)
	}
	return o.SID, nil
}

// packet acts on one of Engine.IO that came over WebSocket.
func (c *client) packet(b []byte) error {
	switch {
	case len(b) > 0 && b[0] == '4':
		return c.heard(c, b)
	case string(b) == "2":
		c.s.write(appendFrame(nil, opText, []byte("3"), &c.voice.key))
		return nil
	}
	_, err := opening(b)
	if err == nil {
		c.opened(c)
	}
	return err
}

// stamp is what a client adds to each request so that no cache has the answer.
func stamp() string {
	const digits = "0123456789abcdefghijklmnopqrstuv"
	var b [8]byte
	for i := range b {
		b[i] = digits[rand.N(len(digits))]
	}
	return string(b[:])
}
