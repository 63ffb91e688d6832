package wire

import (
	"slices"
	"strings"
)

// A Kind is a kind of carrier, or of the requests that make one (§3). The HTTP ones
// are the values of the query parameter.
type Kind string

// The kinds; Send is the requests that go up beside a stream or a poll.
const (
	WebSocket Kind = "websocket"
	Stream    Kind = "stream"
	Poll      Kind = "poll"
	Send      Kind = "send"
)

const (
	// Subprotocol is the WebSocket subprotocol of a carrier, and NoSubprotocol
	// stands for an application that offers none (§3.1).
	Subprotocol   = "sidecar.resume.v1"
	NoSubprotocol = "sidecar.none"
	// Reserved begins the subprotocols that no application may offer, and no backend
	// is offered.
	Reserved = "sidecar."
	// ContentType is that of every answer of this protocol: whatever has another is
	// not (§3.2). RequestType is that of requests.
	ContentType = "application/x-sidecar-resume"
	RequestType = "text/plain"
)

// Offered is what a client offers in its handshake for an application that offers
// protocols.
func Offered(protocols []string) []string {
	if len(protocols) == 0 {
		protocols = []string{NoSubprotocol}
	}
	return append(slices.Clone(protocols), Subprotocol)
}

const parameter = "sidecar="

// AddKind is a raw query with the parameter that says of what kind the request is.
func AddKind(query string, k Kind) string {
	if query != "" {
		query += "&"
	}
	return query + parameter + string(k)
}

// CutKind takes the last parameter off a raw query, if it is ours: what is left goes
// to the backend byte by byte. ok is false for a request that is not of this protocol.
func CutKind(query string) (k Kind, rest string, ok bool) {
	last := query[strings.LastIndexByte(query, '&')+1:]
	name, found := strings.CutPrefix(last, parameter)
	k = Kind(name)
	if !found || k != Stream && k != Poll && k != Send {
		return "", query, false
	}
	return k, strings.TrimSuffix(strings.TrimSuffix(query, last), "&"), true
}
