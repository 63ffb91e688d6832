package polling

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// piece is how much of an answer has to be taken within a write timeout.
const piece = 64 << 10

// An Answer is what a request is told, at once and whole.
type Answer struct {
	Status int    // one with a body: not 1xx, 204 or 304. 0: 200
	Type   string // the Content-Type; "": none
	Body   []byte // not to be changed until the answer is out
}

func (a *Answer) status() int {
	if a.Status == 0 {
		return http.StatusOK
	}
	return a.Status
}

// Write answers at once, with the headers that are set on w, Content-Type and
// Content-Length, and reports whether the kernel (over HTTP/2, the connection)
// took the whole answer. Small answers leave in one write.
func (d *Desk) Write(w http.ResponseWriter, r *http.Request, a Answer) bool {
	h := w.Header()
	h["Content-Length"] = []string{strconv.Itoa(len(a.Body))}
	h["Content-Type"] = nil // not to be guessed
	if a.Type != "" {
		h.Set("Content-Type", a.Type)
	}
	c := http.NewResponseController(w)
	d.renew(c)
	w.WriteHeader(a.status())
	for b := a.Body; len(b) > 0; {
		n := min(piece, len(b))
		if _, err := w.Write(b[:n]); err != nil {
			return false
		}
		if b = b[n:]; len(b) > 0 {
			d.renew(c)
		}
	}
	err := c.Flush()
	return err == nil || errors.Is(err, errors.ErrUnsupported)
}

// renew gives what is written next its time.
func (d *Desk) renew(c *http.ResponseController) {
	_ = c.SetWriteDeadline(time.Now().Add(d.writeTimeout())) // not on every writer
}

// notOurs are the headers that message writes itself.
var notOurs = map[string]bool{
	"Connection": true, "Content-Length": true, "Content-Type": true, "Date": true, "Transfer-Encoding": true,
}

// headOf is h as it is sent, without what message writes itself.
func headOf(h http.Header) []byte {
	var b bytes.Buffer
	_ = h.WriteSubset(&b, notOurs) // a buffer takes it
	return bytes.Clone(b.Bytes())
}

// message is the whole answer as it is sent, what net/http would write with it
// included (RFC 9110 §6.6.1 wants a Date).
func (a *Answer) message(head []byte, last bool) []byte {
	const others = 200 // what of the head is not in head
	b := make([]byte, 0, others+len(head)+len(a.Type)+len(a.Body))
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(a.status()), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(a.status())...)
	b = append(b, "\r\n"...)
	b = append(b, head...)
	if last {
		b = append(b, "Connection: close\r\n"...)
	}
	if a.Type != "" {
		b = append(append(append(b, "Content-Type: "...), a.Type...), "\r\n"...)
	}
	b = append(b, "Date: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(a.Body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, a.Body...)
}
