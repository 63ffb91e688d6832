package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
)

// gorillaRead is the size of gorilla's read buffer, which every hop keeps: small,
// for the bytes wait in a borrowed chunk already, and large payloads go past it.
const gorillaRead = 128

// frameBuffers are gorilla's for writing; it holds one only while it writes.
var frameBuffers sync.Pool

// dialer makes gorilla's connection to a backend. The handshake with the backend
// is the one that raw connections have: gorilla's own reads a head without bound,
// takes an interim answer for a refusal, of which it keeps 1 KiB, and would write
// the target its own way. But gorilla makes a connection only of a handshake, so
// it is given one with nobody: see ceremony.
var dialer = websocket.Dialer{ReadBufferSize: gorillaRead, WriteBufferSize: frameRoom, WriteBufferPool: &frameBuffers}

// adopt gives h, whose handshake with the backend is done, a gorilla connection.
func (h *hop) adopt() error {
	d := dialer
	d.NetDial = func(string, string) (net.Conn, error) { return port{h}, nil }
	ws, _, err := d.Dial("ws://backend/", nil)
	if err != nil {
		return fmt.Errorf("adopting connection: %w", err)
	}
	h.ws = ws
	return nil
}

// ceremony answers gorilla's own handshake.
func (h *hop) ceremony(request []byte) (int, error) {
	_, rest, _ := strings.Cut(string(request), "Sec-WebSocket-Key: ")
	key, _, found := strings.Cut(rest, "\r\n")
	if !found {
		return 0, errors.New("no key in gorilla's handshake")
	}
	h.rest = []byte("HTTP/1.1 101 \r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + acceptFor(key) + "\r\n\r\n")
	return len(request), nil
}

// upgrader makes gorilla's connection to a client whose request passed checkUpgrade
// and access.
var upgrader = websocket.Upgrader{
	ReadBufferSize: gorillaRead, WriteBufferSize: frameRoom, WriteBufferPool: &frameBuffers,
	CheckOrigin: func(*http.Request) bool { return true },
	Error: func(w http.ResponseWriter, _ *http.Request, status int, _ error) {
		if !w.(*entrance).taken { // else net/http complains in its log, once for each stranger who wants that
			http.Error(w, http.StatusText(status), status)
		}
	},
}

// An entrance hands gorilla the hop in place of the client's connection.
type entrance struct {
	http.ResponseWriter
	hop   *hop
	terms *hopTerms
	taken bool // the connection is net/http's no more
}

func (d *entrance) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, err := hijack(d.ResponseWriter)
	d.taken = !errors.Is(err, http.ErrNotSupported)
	if err != nil {
		return nil, nil, err
	}
	d.hop.init(c, d.terms)
	return port{d.hop}, bufio.NewReadWriter(bufio.NewReaderSize(nil, 16), bufio.NewWriterSize(nil, 512)), nil
}

// accept gives h a client's connection. header goes with the answer; the protocol
// in it is the one that was chosen. After an error the client was answered.
func (h *hop) accept(w http.ResponseWriter, r *http.Request, header http.Header, t *hopTerms) error {
	ws, err := upgrader.Upgrade(&entrance{ResponseWriter: w, hop: h, terms: t}, r, header)
	if err != nil {
		if h.Conn != nil {
			h.stream.Close()
		}
		return fmt.Errorf("upgrading client: %w", err)
	}
	h.ws = ws
	return nil
}
