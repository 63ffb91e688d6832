package polling

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"sidecar/access"
)

const (
	// firstRoom is how much is made ready for a body before any of it came: what a
	// stranger announces costs nothing until it is sent.
	firstRoom = 4 << 10
	// restTime is what the rest of a body that is not wanted has to come.
	restTime = time.Second
)

// Read has r's whole body, of at most `most` bytes. A larger one is refused with
// 413, before any of it is read if its length was announced; one with a
// Content-Encoding with 415, for it would have no size that can be trusted. It must
// come before a deadline that moves with its bytes: BodyTimeout, and 1 s more for
// each KiB that came; later is 408, and one cut short 400.
//
// The error is a *access.Refusal. Over HTTP/1 w then says Connection: close, since
// what still comes on the connection is no request.
func (d *Desk) Read(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	b, refusal := d.read(w, r, most)
	if refusal == nil {
		r.Body = http.NoBody // nothing of it is left, which Hold wants to know
		return b, nil
	}
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(restTime)) // not on every writer
	return nil, refusal
}

func (d *Desk) read(w http.ResponseWriter, r *http.Request, most int64) ([]byte, *access.Refusal) {
	for _, coding := range r.Header["Content-Encoding"] {
		if coding != "" && coding != "identity" {
			return nil, refuseBody(http.StatusUnsupportedMediaType, "body must not have a Content-Encoding")
		}
	}
	if r.ContentLength > most {
		return nil, tooLarge(most)
	}
	c := http.NewResponseController(w)
	begun, room := time.Now(), orDefault(d.BodyTimeout, defaultBodyTimeout)
	first := int64(firstRoom)
	if r.ContentLength > 0 {
		first = min(first, r.ContentLength)
	}
	b := make([]byte, 0, first)
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		// Only before a read: once the body has ended, net/http watches the
		// connection under a deadline of its own.
		_ = c.SetReadDeadline(begun.Add(room + time.Duration(len(b)>>10)*time.Second)) // not on every writer
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case int64(len(b)) > most:
			return nil, tooLarge(most)
		case err == io.EOF:
			return b, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, refuseBody(http.StatusRequestTimeout, "body came too slowly")
		case err != nil:
			return nil, refuseBody(http.StatusBadRequest, "body ended early or is malformed")
		}
	}
}

func tooLarge(most int64) *access.Refusal {
	return refuseBody(http.StatusRequestEntityTooLarge, fmt.Sprintf("body may have at most %d bytes", most))
}

func refuseBody(status int, text string) *access.Refusal {
	return &access.Refusal{Status: status, Reason: "body", Text: "the " + text}
}
