package polling

import (
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
	h.Set("Content-Length", strconv.Itoa(len(a.Body)))
	h["Content-Type"] = nil // not to be guessed
	if a.Type != "" {
		h.Set("Content-Type", a.Type)
	}
	c := http.NewResponseController(w)
	renew := func() { _ = c.SetWriteDeadline(time.Now().Add(d.writeTimeout())) } // not on every writer
	renew()
	w.WriteHeader(a.status())
	for b := a.Body; len(b) > 0; {
		n := min(piece, len(b))
		if _, err := w.Write(b[:n]); err != nil {
			return false
		}
		b = b[n:]
		renew()
	}
	err := c.Flush()
	return err == nil || errors.Is(err, errors.ErrUnsupported)
}
