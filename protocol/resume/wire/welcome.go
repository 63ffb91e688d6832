package wire

import "fmt"

// Version is the version of the protocol that this package speaks, the only one.
const Version = 1

// A Welcome answers a Hello: the carrier is attached (§5.3). All times are in
// milliseconds.
type Welcome struct {
	Version uint64 `json:"version"` // that is spoken: the client's or the server's, the lower one
	Session string `json:"session"` // a secret, of at most 128 characters
	Token   string `json:"token"`   // for all that the client says from now on (§5.4), of at most 64
	// Protocol is the subprotocol that the backend chose; empty: none.
	Protocol string `json:"protocol,omitempty"`
	Position
	Window    uint64 `json:"window"`              // the most bytes that the server takes unacknowledged (§7.5)
	Message   uint64 `json:"message,omitempty"`   // the most bytes of one message; 0: not said
	Heartbeat uint64 `json:"heartbeat,omitempty"` // the longest that this carrier is silent; 0: for ever (§10)
	Timeout   uint64 `json:"timeout,omitempty"`   // what either side has to answer in; 0: for ever
	Rotate    uint64 `json:"rotate,omitempty"`    // the age at which a stream ends; 0: no stream, or never
	TTL       uint64 `json:"ttl"`                 // how long the session waits for its client
}

// maxTime is a year, the longest setting there is.
const maxTime = 366 * 24 * 3600 * 1000

// Append appends w as a frame.
func (w *Welcome) Append(dst []byte) ([]byte, error) {
	if why := w.fault(); why != "" {
		return nil, fmt.Errorf("%w: WELCOME %s", ErrBody, why)
	}
	return appendJSON(dst, TypeWelcome, w)
}

// ParseWelcome reads a WELCOME's body.
func ParseWelcome(body []byte) (*Welcome, error) {
	w := &Welcome{}
	if err := members(TypeWelcome, body, w.field); err != nil {
		return nil, err
	}
	if why := w.fault(); why != "" {
		return nil, fmt.Errorf("%w: WELCOME %s", ErrBody, why)
	}
	return w, nil
}

func (w *Welcome) field(name string, v value) error {
	switch name {
	case "version":
		return v.number(1, MaxNumber, &w.Version)
	case "session":
		return v.text(isSession, &w.Session)
	case "token":
		return v.text(isToken, &w.Token)
	case "protocol":
		return v.text(func(s string) bool { return s == "" || isProtocol(s) }, &w.Protocol)
	case "window":
		return v.number(minWindow, MaxNumber, &w.Window)
	case "message":
		return v.number(0, MaxNumber, &w.Message)
	case "heartbeat":
		return v.number(0, maxTime, &w.Heartbeat)
	case "timeout":
		return v.number(0, maxTime, &w.Timeout)
	case "rotate":
		return v.number(0, maxTime, &w.Rotate)
	case "ttl":
		return v.number(1, maxTime, &w.TTL)
	}
	return w.Position.field(name, v)
}

func (w *Welcome) fault() string {
	switch {
	case w.Version == 0:
		return "without a version"
	case !isSession(w.Session) || !isToken(w.Token):
		return "without a session and a token"
	case w.Lowest == 0 || !w.Ack().valid():
		return "without its numbers"
	case w.Window < minWindow:
		return "without a window"
	case w.TTL == 0:
		return "without a ttl"
	}
	return ""
}

// A Refused answers a Hello that got no carrier, for now: another may get one (§5.6).
type Refused struct {
	// Status is the backend's to its handshake, or what the server's own answer
	// would have had: 200 to 599.
	Status uint64 `json:"status"`
	Retry  uint64 `json:"retry,omitempty"` // milliseconds, before which it is no use to try again; at most an hour
	Text   string `json:"text,omitempty"`  // for developers, printable and of at most 200 bytes
}

const maxRetry = 3600 * 1000

// Append appends r as a frame.
func (r *Refused) Append(dst []byte) ([]byte, error) {
	if r.Status < 200 || r.Status > 599 || r.Retry > maxRetry || !isText(r.Text) {
		return nil, fmt.Errorf("%w: REFUSED %+v", ErrBody, *r)
	}
	return appendJSON(dst, TypeRefused, r)
}

// ParseRefused reads a REFUSED's body.
func ParseRefused(body []byte) (*Refused, error) {
	r := &Refused{}
	err := members(TypeRefused, body, func(name string, v value) error {
		switch name {
		case "status":
			return v.number(200, 599, &r.Status)
		case "retry":
			return v.number(0, maxRetry, &r.Retry)
		case "text":
			return v.text(isText, &r.Text)
		}
		return nil
	})
	if err == nil && r.Status == 0 {
		err = fmt.Errorf("%w: REFUSED without a status", ErrBody)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// A Gone says that there is no session, and will be none (§9).
type Gone struct {
	// Reason is one of the names in §9, or a newer one: a to z and _, at most 32.
	Reason string `json:"reason"`
}

// Append appends g as a frame.
func (g *Gone) Append(dst []byte) ([]byte, error) {
	if !isReason(g.Reason) {
		return nil, fmt.Errorf("%w: GONE %+v", ErrBody, *g)
	}
	return appendJSON(dst, TypeGone, g)
}

// ParseGone reads a GONE's body.
func ParseGone(body []byte) (*Gone, error) {
	g := &Gone{}
	err := members(TypeGone, body, func(name string, v value) error {
		if name == "reason" {
			return v.text(isReason, &g.Reason)
		}
		return nil
	})
	if err == nil && g.Reason == "" {
		err = fmt.Errorf("%w: GONE without a reason", ErrBody)
	}
	if err != nil {
		return nil, err
	}
	return g, nil
}

func isReason(s string) bool {
	for i := range len(s) {
		if (s[i] < 'a' || s[i] > 'z') && s[i] != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 32
}
