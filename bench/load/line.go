//go:build linux

package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
)

// A line is one kept-alive HTTP/1.1 connection, with one request under way at
// most. net/http's client would cost more than the servers to be measured.
type line struct {
	s    *socket
	host string
	// then is given the answer's body, which is valid during the call only. Nil:
	// none is awaited.
	then func(body []byte) error
	// connect connects; nil once it has. fail is told where it cannot.
	connect func() error
	fail    func(error)
	asked   string // the latest target
}

// newLine is one to addr, of the n-th client. It connects when it is first used, as
// clients do: a server gives the first request of a connection little time.
func newLine(l *loop, addr netip.AddrPort, n int) *line {
	h := &line{host: addr.String()}
	h.s = &socket{fd: -1, take: h.take, gone: func(err error) {
		if errors.Is(err, io.EOF) {
			err = errors.New("the server closed a kept-alive connection")
		}
		l.fail(fmt.Errorf("%s: %w", h.asked, err))
	}}
	h.connect = func() error {
		fd, err := dial(addr, n)
		if err != nil {
			return err
		}
		h.s.fd = fd
		return l.join(h.s)
	}
	h.fail = l.fail
	return h
}

// write sends a request for target.
func (h *line) write(target string, b []byte) {
	if h.asked = target; h.connect != nil {
		if err := h.connect(); err != nil {
			h.fail(err)
			return
		}
		h.connect = nil
	}
	h.s.write(b)
}

// get asks for target.
func (h *line) get(target string, then func([]byte) error) {
	h.then = then
	h.write(target, []byte("GET "+target+" HTTP/1.1\r\nHost: "+h.host+"\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"))
}

// post sends body to target, as what browsers take for simple (no preflight).
func (h *line) post(target string, body []byte, then func([]byte) error) {
	h.then = then
	b := make([]byte, 0, 512)
	b = append(b, "POST "+target+" HTTP/1.1\r\nHost: "+h.host+"\r\nUser-Agent: bench\r\nAccept: */*\r\n"+
		"Content-Type: text/plain;charset=UTF-8\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n\r\n"...)
	h.write(target, append(b, body...))
}

func (h *line) take(b []byte) ([]byte, error) {
	body, rest, err := answer(b)
	if errors.Is(err, errShort) {
		return b, nil
	}
	if err == nil && h.then == nil {
		err = errors.New("an answer came unasked")
	}
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%q came behind an answer", rest)
	}
	if err != nil {
		return nil, err
	}
	then := h.then
	h.then = nil
	return nil, then(body)
}

// answer takes an answer with status 200 off b. It fails with errShort while
// that is not whole, and where its length is not given beforehand.
func answer(b []byte) (body, rest []byte, err error) {
	head, rest, whole := bytes.Cut(b, []byte("\r\n\r\n"))
	switch {
	case !whole && len(b) > mostHead:
		return nil, nil, errors.New("reading an answer: it has no end")
	case !whole:
		return nil, nil, errShort
	case !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")):
		return nil, nil, fmt.Errorf("a request was answered with %q", b)
	}
	n, err := strconv.Atoi(field(head, "Content-Length"))
	if err != nil || n < 0 || n > most {
		return nil, nil, fmt.Errorf("reading an answer: %q gives no length to take", head)
	}
	if len(rest) < n {
		return nil, nil, errShort
	}
	return rest[:n], rest[n:], nil
}
