package proxy

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"sidecar/access"
)

// A head is a message's head in the making. It is built in one buffer, straight
// from the headers that came, of which no copy is made.
type head struct {
	b     []byte
	names []string
}

var heads = sync.Pool{New: func() any { return new(head) }}

func newHead() *head {
	m := heads.Get().(*head)
	m.b, m.names = m.b[:0], m.names[:0]
	return m
}

// free keeps m for the next, unless it has grown large. What it built must not be
// used any more.
func (m *head) free() {
	if cap(m.b) > 16<<10 {
		return
	}
	clear(m.names) // they point into a whole request
	heads.Put(m)
}

func (m *head) add(parts ...string) {
	for _, s := range parts {
		m.b = append(m.b, s...)
	}
}

// line adds a header line. A line break in a value becomes two blanks, as
// net/http has it: a bare CR is let pass by its parser, and ends the line in
// somebody else's.
func (m *head) line(name, value string) {
	m.add(name, ": ")
	start := len(m.b)
	m.add(strings.Trim(value, " \t\r\n"), "\r\n")
	for i, c := range m.b[start : len(m.b)-2] {
		if c == '\r' || c == '\n' {
			m.b[start+i] = ' '
		}
	}
}

// lines adds those of h that are not to be dropped, in the order of their names,
// so that the same handshake always looks the same. A name that is no token,
// which net/http lets pass from a backend, is left out.
func (m *head) lines(h http.Header, drop func(name string) bool) {
	m.names = m.names[:0]
	for name := range h {
		if isToken(name) && !drop(name) {
			m.names = append(m.names, name)
		}
	}
	slices.Sort(m.names)
	for _, name := range m.names {
		for _, value := range h[name] {
			m.line(name, value)
		}
	}
}

// ask makes m what the backend is sent for a client's handshake: what a direct
// client would have sent, and who the client is. What we say ourselves is written
// whatever the client's Connection lists.
func (m *head) ask(r *http.Request, target string, protocols []string, c access.Client, id string) {
	m.add("GET ", target, " HTTP/1.1\r\nHost: ", r.Host, "\r\n")
	listed := listedIn(r.Header)
	m.lines(r.Header, func(name string) bool {
		return isHandshakes(name) || isHopByHop(name, listed) || access.IsForwarding(name) || isSession(name)
	})
	m.add("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-Websocket-Version: 13\r\n")
	m.line("Sec-Websocket-Key", r.Header.Get("Sec-Websocket-Key"))
	if len(protocols) > 0 {
		m.line("Sec-Websocket-Protocol", strings.Join(protocols, ", "))
	}
	for name, value := range c.Forwarded {
		m.line(name, value)
	}
	m.line(SessionHeader, id)
	m.add("\r\n")
}

// isHandshakes knows the headers that ask writes itself, and those that a
// handshake has no use for. Over HTTP/2 a stranger can send a Host beside the
// :authority that routes and access go by; net/http passes it on.
func isHandshakes(name string) bool {
	switch name {
	case "Host", "Sec-Websocket-Version", "Sec-Websocket-Key", "Sec-Websocket-Protocol", "Content-Length", "Expect":
		return true
	}
	return false
}

// switched makes m the head of the answer that the client gets for the backend's.
func (m *head) switched(h http.Header) {
	m.add("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
	listed := listedIn(h)
	m.lines(h, func(name string) bool { return name == "Content-Length" || isHopByHop(name, listed) })
	m.add("\r\n")
}
