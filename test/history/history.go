// Package history judges what became of messages: every test message says which
// stream it belongs to and its number there, and an offline checker counts what
// was lost, doubled, reordered, foreign or corrupt.
package history

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strconv"
	"sync"
)

// A Dir is the direction of a stream.
type Dir byte

const (
	Up   Dir = 'u' // from client to backend
	Down Dir = 'd' // from backend to client
)

// A Stream is the messages of one session in one direction, numbered from 1.
type Stream struct {
	Session string // no spaces
	Dir     Dir
}

// Message makes message n of s, of size bytes, or the least that holds its head
// if that is more. It is printable ASCII, so it may travel as text or as binary.
// Its filler differs from message to message, so that no part of one passes for
// a part of another.
func Message(s Stream, n, size int) []byte {
	head := fmt.Sprintf("%s %c %d ", s.Session, s.Dir, n)
	b := make([]byte, 0, max(size, len(head)+9))
	b = append(b, head...)
	for seed := crc32.ChecksumIEEE(b); len(b)+9 < size; seed = seed*1664525 + 1013904223 {
		b = append(b, 'A'+byte(seed>>24)%26)
	}
	return fmt.Appendf(b, " %08x", crc32.ChecksumIEEE(b))
}

// Parse reads a message and checks that nothing in it has changed.
func Parse(b []byte) (Stream, int, error) {
	cut := len(b) - 9
	if cut < 0 {
		return Stream{}, 0, fmt.Errorf("reading a message: %d bytes are too few", len(b))
	}
	if want := fmt.Sprintf(" %08x", crc32.ChecksumIEEE(b[:cut])); string(b[cut:]) != want {
		return Stream{}, 0, fmt.Errorf("reading a message of %d bytes: checksum %q; want %q", len(b), b[cut:], want)
	}
	f := bytes.SplitN(b[:cut], []byte(" "), 4)
	if len(f) != 4 || len(f[1]) != 1 {
		return Stream{}, 0, fmt.Errorf("reading a message: no head in %.40q", b)
	}
	n, err := strconv.Atoi(string(f[2]))
	if err != nil {
		return Stream{}, 0, fmt.Errorf("reading a message's number: %w", err)
	}
	return Stream{string(f[0]), Dir(f[1][0])}, n, nil
}

// A History is what was sent and what arrived. Its zero value is ready, and its
// methods may be called from many goroutines at once.
type History struct {
	mu       sync.Mutex
	sent     map[Stream]int
	received map[Stream][]event
	whole    map[Stream]int
	told     map[string]string
}

// An event is one received message: n is 0 where it was corrupt.
type event struct {
	from Stream
	n    int
}

// Send makes the next message of s and records it as sent. Call it just before
// the message is handed to the network.
func (h *History) Send(s Stream, size int) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sent == nil {
		h.sent = map[Stream]int{}
	}
	h.sent[s]++
	return Message(s, h.sent[s], size)
}

// Receive records what arrived where only messages of s should, and returns the
// message's number, 0 for a corrupt one.
func (h *History) Receive(s Stream, b []byte) int {
	from, n, err := Parse(b)
	if err != nil {
		n = 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.received == nil {
		h.received, h.whole = map[Stream][]event{}, map[Stream]int{}
	}
	h.received[s] = append(h.received[s], event{from, n})
	if n > 0 {
		h.whole[s]++
	}
	return n
}

// Told records that the session's client learnt that its connection ended
// otherwise than it asked: by a close frame, a reset or an end of the stream.
func (h *History) Told(session, how string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.told == nil {
		h.told = map[string]string{}
	}
	h.told[session] = how
}

// Received is how many messages of s arrived whole.
func (h *History) Received(s Stream) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.whole[s]
}
