package test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// A hop is one HTTP/1.1 connection on which nothing is retried, so that a test
// knows what went over the wire.
type hop struct {
	addr, host string // what is dialled, and what is asked for
	closing    bool   // each request has a connection of its own

	mu    sync.Mutex
	c     net.Conn
	r     *bufio.Reader
	over  bool
	asked bool  // a request is out that has no answer yet
	wrote int64 // bytes of requests
}

// do makes one request and reads the answer to its end.
func (h *hop) do(method, target string, body []byte) (status int, answer []byte, err error) {
	if err := h.send(method, target, body); err != nil {
		return 0, nil, err
	}
	return h.answer(method)
}

// send writes a request, over the connection of before if there is one.
func (h *hop) send(method, target string, body []byte) error {
	c, err := h.connect()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, h.host)
	if body != nil {
		fmt.Fprintf(&b, "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n", len(body))
	}
	if h.closing {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	b.Write(body)
	if _, err := c.Write(b.Bytes()); err != nil {
		h.close(false)
		return fmt.Errorf("asking: %w", err)
	}
	h.count(true, b.Len())
	return nil
}

func (h *hop) count(asked bool, wrote int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = asked
	h.wrote += int64(wrote)
}

func (h *hop) counts() (asked bool, wrote int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked, h.wrote
}

// part makes a POST whose body the server waits for when it returns.
func (h *hop) part(target string, length int) error {
	c, err := h.connect()
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		target, h.host, length); err != nil {
		return err
	}
	status, _, err := h.answer("POST")
	if err == nil && status != http.StatusContinue {
		err = fmt.Errorf("status %d before the body", status)
	}
	return err
}

// write writes the body, which nobody may want any more.
func (h *hop) write(b []byte) {
	if c, err := h.connect(); err == nil {
		c.Write(b)
	}
}

// answer reads the answer to what was sent.
func (h *hop) answer(method string) (status int, answer []byte, err error) {
	h.mu.Lock()
	r := h.r
	h.mu.Unlock()
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err == nil {
		answer, err = io.ReadAll(resp.Body)
	}
	if err != nil {
		h.close(false)
		return 0, nil, fmt.Errorf("reading the answer: %w", err)
	}
	h.count(false, 0)
	if resp.Close {
		h.forget()
	}
	return resp.StatusCode, answer, nil
}

func (h *hop) connect() (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return nil, net.ErrClosed
	}
	if h.c != nil {
		return h.c, nil
	}
	c, err := net.DialTimeout("tcp", h.addr, patience)
	if err != nil {
		return nil, err
	}
	h.c, h.r = c, bufio.NewReader(c)
	return c, nil
}

// forget leaves a connection that the server will not serve again.
func (h *hop) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.c != nil {
		h.c.Close()
		h.c = nil
	}
}

// close ends the hop for good, by a RST or a FIN.
func (h *hop) close(rst bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	if h.c == nil {
		return
	}
	if rst {
		h.c.(*net.TCPConn).SetLinger(0)
	}
	h.c.Close()
}
