package proxy

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"sidecar/access"
)

// SessionHeader tells the backend the connection's public id: the one that the
// log uses, and no secret. A stranger's is removed.
const SessionHeader = "X-Sidecar-Session"

// ownSubprotocols begin so; they are between clients and us.
const ownSubprotocols = "sidecar."

// A refusal is a handshake that we turn away ourselves: what the client is told.
type refusal struct {
	status int
	text   string
}

// checkUpgrade is what is wrong with a request that asks for an upgrade (RFC
// 6455 §4.2.1). Each of these has been a hole in some proxy: an upgrade to
// another protocol that became a raw tunnel, a body behind which a second request
// hid, a version that the backend refused after the proxy had said yes.
func checkUpgrade(r *http.Request) *refusal {
	bad := func(format string, a ...any) *refusal {
		return &refusal{http.StatusBadRequest, fmt.Sprintf(format, a...)}
	}
	up := r.Header.Values("Upgrade")
	switch {
	case r.Method != http.MethodGet:
		return &refusal{http.StatusMethodNotAllowed, "a WebSocket handshake is a GET"}
	case r.ProtoMajor != 1 || r.ProtoMinor < 1:
		return bad("a WebSocket handshake needs HTTP/1.1")
	case len(up) != 1 || !strings.EqualFold(up[0], "websocket"):
		return bad("only upgrades to websocket are served here")
	case !slices.ContainsFunc(tokens(r.Header, "Connection"), isUpgrade):
		return bad("the Connection header does not say upgrade")
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		return bad("a WebSocket handshake has no body")
	case r.URL.IsAbs() || r.URL.Host != "" || !strings.HasPrefix(r.RequestURI, "/"):
		return bad("the request target must be a path")
	case !slices.Equal(r.Header.Values("Sec-Websocket-Version"), []string{"13"}):
		return &refusal{http.StatusUpgradeRequired, "only version 13 of the WebSocket protocol is served here"}
	}
	key := r.Header.Values("Sec-Websocket-Key")
	if len(key) != 1 || !validKey(key[0]) {
		return bad("Sec-WebSocket-Key is not 16 bytes in base64")
	}
	return nil
}

func isUpgrade(token string) bool { return strings.EqualFold(token, "upgrade") }

func validKey(s string) bool {
	b, err := base64.StdEncoding.DecodeString(s)
	return err == nil && len(b) == 16 && len(s) == 24
}

// acceptFor is the proof that a handshake was understood (RFC 6455 §4.2.2).
func acceptFor(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// hopByHop are the headers that concern one connection only (RFC 9110 §7.6.1),
// and what belongs to upgrades that are never passed on.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding",
	"Upgrade", "Http2-Settings", "Proxy-Authenticate", "Proxy-Authorization",
}

// strip removes hop-by-hop headers, those that Connection names among them.
func strip(h http.Header) {
	for _, name := range tokens(h, "Connection") {
		h.Del(name)
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
}

// upgradeHeader is what the backend is sent for a client's handshake: what a
// direct client would have sent, and who the client is.
func upgradeHeader(r *http.Request, c access.Client, id string) http.Header {
	h := r.Header.Clone()
	key := h.Get("Sec-Websocket-Key")
	protocols := offeredProtocols(h)
	strip(h)
	for _, name := range []string{"Content-Length", "Expect", "Sec-Websocket-Protocol"} {
		h.Del(name)
	}
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", "websocket")
	h.Set("Sec-Websocket-Version", "13")
	h.Set("Sec-Websocket-Key", key)
	if len(protocols) > 0 {
		h.Set("Sec-Websocket-Protocol", strings.Join(protocols, ", "))
	}
	c.SetForwarded(h)
	dropSession(h)
	h.Set(SessionHeader, id)
	return h
}

// dropSession removes a stranger's SessionHeader, in every spelling that CGI and
// its heirs take for it.
func dropSession(h http.Header) {
	for name := range h {
		if len(name) == len(SessionHeader) && strings.EqualFold(hyphens.Replace(name), SessionHeader) {
			delete(h, name)
		}
	}
}

var hyphens = strings.NewReplacer("_", "-", ".", "-")

// offeredProtocols are the subprotocols offered to the backend.
func offeredProtocols(h http.Header) []string {
	return slices.DeleteFunc(tokens(h, "Sec-Websocket-Protocol"), func(p string) bool {
		return strings.HasPrefix(strings.ToLower(p), ownSubprotocols)
	})
}

// checkSwitch checks that a 101 answers the request r: only a true one becomes a
// tunnel (RFC 6455 §4.1, the client's side).
func checkSwitch(r *http.Request, h http.Header) (extensions, error) {
	protocols := tokens(h, "Sec-Websocket-Protocol")
	up := tokens(h, "Upgrade")
	switch {
	case len(up) != 1 || !strings.EqualFold(up[0], "websocket"):
		return extensions{}, fmt.Errorf("backend switched to %q, not to websocket", h.Get("Upgrade"))
	case !slices.ContainsFunc(tokens(h, "Connection"), isUpgrade):
		return extensions{}, errors.New("backend's 101 has no Connection: Upgrade")
	case !slices.Equal(h.Values("Sec-Websocket-Accept"), []string{acceptFor(r.Header.Get("Sec-Websocket-Key"))}):
		return extensions{}, errors.New("backend's Sec-WebSocket-Accept does not match")
	case len(protocols) > 1 || len(protocols) == 1 && !slices.Contains(offeredProtocols(r.Header), protocols[0]):
		return extensions{}, fmt.Errorf("backend chose subprotocol %q, which was not offered", h.Get("Sec-Websocket-Protocol"))
	}
	return agreed(r.Header.Values("Sec-Websocket-Extensions"), h.Values("Sec-Websocket-Extensions"))
}

// switchHeader makes a backend's answer the client's.
func switchHeader(h http.Header) http.Header {
	h = h.Clone()
	strip(h)
	h.Del("Content-Length")
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", "websocket")
	return h
}
