package polling

import (
	"errors"
	"net/http"
	"time"
)

// A Stream is an answer that is written piece by piece, for as long as it takes.
type Stream struct {
	desk *Desk
	w    http.ResponseWriter
	c    *http.ResponseController
}

// Stream begins an answer with status 200, the headers that are set on w and that
// Content-Type. Nothing leaves before the first Write. Whoever wants to know that the
// client left has the request's context, once the body was read. Close must be called
// in the end, before the handler returns.
func (d *Desk) Stream(w http.ResponseWriter, kind string) *Stream {
	w.Header().Set("Content-Type", kind)
	return &Stream{d, w, http.NewResponseController(w)}
}

// Write writes b and sends it on its way at once. Each 64 KiB of it must be taken
// within WriteTimeout; an error says that nothing more can be written.
func (s *Stream) Write(b []byte) error {
	for len(b) > 0 {
		n := min(piece, len(b))
		s.desk.renew(s.c)
		if _, err := s.w.Write(b[:n]); err != nil {
			return err
		}
		if err := s.c.Flush(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		b = b[n:]
	}
	_ = s.c.SetWriteDeadline(time.Time{}) // over HTTP/2 it would end the stream also while nothing is written
	return nil
}

// Close gives the end of the answer the time to be taken that pieces have.
func (s *Stream) Close() { s.desk.renew(s.c) }
