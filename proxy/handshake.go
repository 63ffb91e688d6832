package proxy

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
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
	up := r.Header["Upgrade"]
	switch {
	case r.Method != http.MethodGet:
		return &refusal{http.StatusMethodNotAllowed, "a WebSocket handshake is a GET"}
	case r.ProtoMajor != 1 || r.ProtoMinor < 1:
		return bad("a WebSocket handshake needs HTTP/1.1")
	case len(up) != 1 || !strings.EqualFold(up[0], "websocket"):
		return bad("only upgrades to websocket are served here")
	case !hasUpgrade(r.Header):
		return bad("the Connection header does not say upgrade")
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		return bad("a WebSocket handshake has no body")
	case r.URL.IsAbs() || r.URL.Host != "" || !strings.HasPrefix(r.RequestURI, "/"):
		return bad("the request target must be a path")
	case !isJust(r.Header["Sec-Websocket-Version"], "13"):
		return &refusal{http.StatusUpgradeRequired, "only version 13 of the WebSocket protocol is served here"}
	}
	key := r.Header["Sec-Websocket-Key"]
	if len(key) != 1 || !validKey(key[0]) {
		return bad("Sec-WebSocket-Key is not 16 bytes in base64")
	}
	return nil
}

func isJust(values []string, want string) bool { return len(values) == 1 && values[0] == want }

// hasUpgrade reports whether Connection says upgrade.
func hasUpgrade(h http.Header) bool {
	for t := range eachToken(h, "Connection") {
		if strings.EqualFold(t, "upgrade") {
			return true
		}
	}
	return false
}

func validKey(s string) bool {
	var b [18]byte // 24 characters may stand for so many
	if len(s) != 24 {
		return false
	}
	n, err := base64.StdEncoding.Decode(b[:], []byte(s))
	return err == nil && n == 16
}

// acceptFor is the proof that a handshake was understood (RFC 6455 §4.2.2).
func acceptFor(key string) string {
	var proof [28]byte
	sum := sha1.Sum(append(append(make([]byte, 0, 64), key...), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	base64.StdEncoding.Encode(proof[:], sum[:])
	return string(proof[:])
}

// hopByHop are the headers that concern one connection only (RFC 9110 §7.6.1),
// and what belongs to upgrades that are never passed on.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding",
	"Upgrade", "Http2-Settings", "Proxy-Authenticate", "Proxy-Authorization",
}

// strip removes hop-by-hop headers, those that Connection names among them.
func strip(h http.Header) {
	for _, name := range listedIn(h) {
		delete(h, name)
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// listedIn are the headers that Connection names, beside those that are hop-by-hop
// anyway, in order: thousands of names against thousands of headers would be a
// cheap way to keep us busy.
func listedIn(h http.Header) (names []string) {
	for t := range eachToken(h, "Connection") {
		if name := http.CanonicalHeaderKey(t); !slices.Contains(hopByHop, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// isHopByHop reports whether strip would remove name where listedIn is listed.
func isHopByHop(name string, listed []string) bool {
	if slices.Contains(hopByHop, name) {
		return true
	}
	_, found := slices.BinarySearch(listed, name)
	return found
}

// dropSession removes a stranger's SessionHeader, in every spelling that CGI and
// its heirs take for it.
func dropSession(h http.Header) {
	for name := range h {
		if isSession(name) {
			delete(h, name)
		}
	}
}

func isSession(name string) bool {
	return len(name) == len(SessionHeader) && strings.EqualFold(hyphens.Replace(name), SessionHeader)
}

var hyphens = strings.NewReplacer("_", "-", ".", "-")

// offeredProtocols are the subprotocols offered to the backend.
func offeredProtocols(h http.Header) (list []string) {
	for t := range eachToken(h, "Sec-Websocket-Protocol") {
		if !strings.HasPrefix(strings.ToLower(t), ownSubprotocols) {
			list = append(list, t)
		}
	}
	return list
}

// checkSwitch checks that a 101 answers the request r, in which protocols were
// offered to the backend: only a true one becomes a tunnel (RFC 6455 §4.1, the
// client's side).
func checkSwitch(r *http.Request, protocols []string, h http.Header) (extensions, error) {
	chosen := tokens(h, "Sec-Websocket-Protocol")
	up := tokens(h, "Upgrade")
	switch {
	case len(up) != 1 || !strings.EqualFold(up[0], "websocket"):
		return extensions{}, fmt.Errorf("backend switched to %q, not to websocket", h.Get("Upgrade"))
	case !hasUpgrade(h):
		return extensions{}, errors.New("backend's 101 has no Connection: Upgrade")
	case !isJust(h["Sec-Websocket-Accept"], acceptFor(r.Header.Get("Sec-Websocket-Key"))):
		return extensions{}, errors.New("backend's Sec-WebSocket-Accept does not match")
	case len(chosen) > 1 || len(chosen) == 1 && !slices.Contains(protocols, chosen[0]):
		return extensions{}, fmt.Errorf("backend chose subprotocol %q, which was not offered", h.Get("Sec-Websocket-Protocol"))
	}
	return agreed(r.Header["Sec-Websocket-Extensions"], h["Sec-Websocket-Extensions"])
}
