package wire

import (
	"fmt"
	"slices"
)

// A Hello begins a carrier (§5.2).
type Hello struct {
	Version    uint64 `json:"version"`    // the highest that the client speaks, from 1
	Attempt    string `json:"attempt"`    // as NewAttempt makes it; the same in all HELLOs of one object
	Generation uint64 `json:"generation"` // names the carrier among the client's, from 1
	// Use asks for what goes to the client by this carrier at once, like a USE of
	// that turn. 0: not yet.
	Use uint64 `json:"use,omitempty"`
	// Session and Token are as the newest WELCOME had them. Empty: there was none
	// yet, and the HELLO opens a session, or joins the opening of its attempt.
	Session string `json:"session,omitempty"`
	Token   string `json:"token,omitempty"`
	Position
	// Window is the most bytes that the client takes unacknowledged (§7.5): from
	// 4 KiB to 1 GiB.
	Window uint64 `json:"window"`
	// Protocols are the subprotocols that the application offers, the favourite
	// first; at most 32, of at most 4 KiB each. They count only where there is no
	// Session yet.
	Protocols []string `json:"protocols,omitempty"`
}

// A Position is how far either side's half of a conversation has come: what a
// HELLO and a WELCOME have in common.
type Position struct {
	Received uint64 `json:"received"`          // as in an Ack
	Ahead    uint64 `json:"ahead,omitempty"`   //
	Partial  uint64 `json:"partial,omitempty"` //
	// Lowest is the first of the sender's own messages that it can send again, from
	// 1. More than one beyond what the other has is a gap: messages are lost.
	Lowest uint64 `json:"lowest"`
}

// Ack is p's word on what was received.
func (p Position) Ack() Ack { return Ack{p.Received, p.Ahead, p.Partial} }

// field reads a member of p; it is nil for one that is none of p's.
func (p *Position) field(name string, v value) error {
	switch name {
	case "received":
		return v.number(0, MaxNumber, &p.Received)
	case "ahead":
		return v.number(0, MaxNumber, &p.Ahead)
	case "partial":
		return v.number(0, MaxNumber, &p.Partial)
	case "lowest":
		return v.number(1, MaxNumber, &p.Lowest)
	}
	return nil
}

// Windows, by §5.2.
const (
	minWindow = 4 << 10
	maxWindow = 1 << 30
)

// Append appends h as a frame.
func (h *Hello) Append(dst []byte) ([]byte, error) {
	if why := h.fault(); why != "" {
		return nil, fmt.Errorf("%w: HELLO %s", ErrBody, why)
	}
	return appendJSON(dst, TypeHello, h)
}

// ParseHello reads a HELLO's body. What is not in it has the value of an opening.
func ParseHello(body []byte) (*Hello, error) {
	h := &Hello{Position: Position{Lowest: 1}}
	if err := members(TypeHello, body, h.field); err != nil {
		return nil, err
	}
	if why := h.fault(); why != "" {
		return nil, fmt.Errorf("%w: HELLO %s", ErrBody, why)
	}
	return h, nil
}

func (h *Hello) field(name string, v value) error {
	switch name {
	case "version":
		return v.number(1, MaxNumber, &h.Version)
	case "attempt":
		return v.text(isAttempt, &h.Attempt)
	case "generation":
		return v.number(1, MaxNumber, &h.Generation)
	case "use":
		return v.number(0, MaxNumber, &h.Use)
	case "session":
		return v.text(isSession, &h.Session)
	case "token":
		return v.text(isToken, &h.Token)
	case "window":
		return v.number(minWindow, maxWindow, &h.Window)
	case "protocols":
		return v.list(maxProtocols, isProtocol, &h.Protocols)
	}
	return h.Position.field(name, v)
}

// fault is what members cannot say of one member alone, or of one that is not there.
func (h *Hello) fault() string {
	switch {
	case h.Version == 0:
		return "without a version"
	case !isAttempt(h.Attempt):
		return "without an attempt"
	case h.Generation == 0:
		return "without a generation"
	case h.Window < minWindow || h.Window > maxWindow:
		return "without a window"
	case (h.Session == "") != (h.Token == ""):
		return "with one of session and token"
	case h.Session != "" && (!isSession(h.Session) || !isToken(h.Token)):
		return "with a bad session or token"
	case h.Lowest == 0 || !h.Ack().valid():
		return "with numbers beyond all numbers"
	case len(h.Protocols) > maxProtocols || !areProtocols(h.Protocols):
		return "with bad protocols"
	case h.Session == "" && h.Position != Position{Lowest: 1}:
		return "that opens a session and has had messages"
	}
	return ""
}

// areProtocols reports whether all are subprotocols, and no two alike.
func areProtocols(all []string) bool {
	for i, s := range all {
		if !isProtocol(s) || slices.Contains(all[:i], s) {
			return false
		}
	}
	return true
}
