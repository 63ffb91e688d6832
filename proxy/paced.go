package proxy

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// theBody is the key of a request's pacedBody, which ReverseProxy wraps.
type theBody struct{}

// A pacedBody ends a request whose body comes slower than minRate, after grace:
// whoever sends a byte now and then would hold two connections for ever.
type pacedBody struct {
	io.ReadCloser
	rc    *http.ResponseController
	start time.Time
	grace time.Duration
	read  int64
	until atomic.Int64 // when, from start, the read in progress is given up; 0: none is
}

func (b *pacedBody) Read(p []byte) (int, error) {
	limit := b.grace + time.Duration(b.read/minRate)*time.Second
	// Fails only where the server cannot do it; then its own limits hold.
	b.rc.SetReadDeadline(b.start.Add(limit))
	b.until.Store(int64(limit))
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if err == nil || !isTimeout(err) {
		b.until.Store(0)
	}
	if err != nil && !isTimeout(err) {
		b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// late reports whether the body's time is up. Another goroutine may still be
// about to return from Read.
func (b *pacedBody) late() bool {
	limit := time.Duration(b.until.Load())
	return limit > 0 && time.Since(b.start) >= limit
}

// A pacedWriter ends an answer that its client does not take.
type pacedWriter struct {
	http.ResponseWriter
	rc    *http.ResponseController
	limit time.Duration
	// lift: over HTTP/2 a deadline resets its stream when it comes, whether there
	// is something to write or not. A quiet event stream must have none.
	lift bool
}

// renew gives the client its time anew. Heads need it too: one who asks on and on
// and reads nothing fills the buffers with them.
func (w *pacedWriter) renew() { w.rc.SetWriteDeadline(time.Now().Add(w.limit)) }

func (w *pacedWriter) WriteHeader(status int) {
	w.renew()
	if status >= 200 {
		leaveType(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
	if status < 200 { // written by now; the rest may be long in coming
		w.rest()
	}
}

func (w *pacedWriter) Write(p []byte) (int, error) {
	w.renew()
	return w.ResponseWriter.Write(p)
}

// FlushError is for http.ResponseController. ReverseProxy flushes whatever it writes.
func (w *pacedWriter) FlushError() error {
	w.renew()
	err := w.rc.Flush()
	w.rest()
	return err
}

// rest says that all is written which there is.
func (w *pacedWriter) rest() {
	if w.lift {
		w.rc.SetWriteDeadline(time.Time{})
	}
}

// Unwrap is for http.ResponseController.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
