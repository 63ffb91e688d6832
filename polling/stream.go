package polling

import (
	"errors"
	"net/http"
	"sync"
	"time"
)

// A Source is what a stream's answer comes from. Next is not called twice at once,
// nor after it said that the stream ends.
type Source interface {
	// Next appends to b what is to be written now, some 64 KiB at most. more: it is
	// to be asked again at once; else once Wake was called. ends: the answer ends
	// behind it. It must not wait, nor call Wake under a lock that it takes.
	Next(b []byte) (out []byte, more, ends bool)
	// Gone is called once, without locks held by polling, when nothing more is
	// written: behind the end, or because the client left or took nothing for
	// WriteTimeout, or was cut.
	Gone()
}

// A Stream is an answer that is written piece by piece, for as long as it takes.
type Stream struct {
	held   *written // nil once it is parked
	source Source

	mu      sync.Mutex    // guards what follows; before the loops' locks
	seat    *seat         // nil until it is parked
	space   *[]byte       // what is being written, where the client has not taken all; nil: nothing is
	after   func(ok bool) // taken, made once
	writing bool          // somebody is the writer: the handler, or whoever called Wake, or the loop
	woken   bool          // and is to ask Source once more
	ending  bool          // what is being written is the last
}

// A written is a stream that keeps its goroutine.
type written struct {
	desk *Desk
	w    http.ResponseWriter
	r    *http.Request
	c    *http.ResponseController
	kick chan struct{} // has one if Source may have something to say
}

// Stream begins an answer to r with status 200, the headers that are set on w and
// that Content-Type. Nothing leaves before the first Write, or Run. The body of r is
// to be read by Read first, or its client's leaving is not noticed. Either Run or
// Close must be called in the end, before the handler returns.
func (d *Desk) Stream(w http.ResponseWriter, r *http.Request, kind string) *Stream {
	w.Header().Set("Content-Type", kind)
	q := &written{d, w, r, http.NewResponseController(w), make(chan struct{}, 1)}
	return &Stream{held: q, writing: true}
}

// Write writes b and sends it on its way at once. Each 64 KiB of it must be taken
// within WriteTimeout; an error says that nothing more can be written. It is only for
// the handler, before Run.
func (s *Stream) Write(b []byte) error { return s.held.write(b) }

func (q *written) write(b []byte) error {
	for len(b) > 0 {
		n := min(piece, len(b))
		q.desk.renew(q.c)
		if _, err := q.w.Write(b[:n]); err != nil {
			return err
		}
		if err := q.flush(); err != nil {
			return err
		}
		b = b[n:]
	}
	_ = q.c.SetWriteDeadline(time.Time{}) // over HTTP/2 it would end the stream also while nothing is written
	return nil
}

func (q *written) flush() error {
	if err := q.c.Flush(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// Close gives the end of an answer that is not Run the time to be taken that pieces
// have.
func (s *Stream) Close() { s.held.desk.renew(s.held.c) }

// Wake says that the Source may have something to say. It does not wait, and may be
// called from any goroutine, also before Run, but not within a loop's callback: where
// the stream is parked it calls Next, and writes what the kernel takes.
func (s *Stream) Wake() {
	s.mu.Lock()
	s.woken = true
	if s.writing {
		if q := s.held; q != nil {
			select {
			case q.kick <- struct{}{}:
			default:
			}
		}
		s.mu.Unlock()
		return
	}
	s.writing = true
	s.mu.Unlock()
	s.pump()
}

// Run writes what source has to say, until it ends. It is the last thing that a handler
// calls, and returns once the stream is parked, or over. A stream is parked at once
// where it can be: that costs about as much as one wake of its goroutine, and once for
// all that it carries.
func (s *Stream) Run(source Source) {
	s.source = source
	if q := s.held; q.desk.parks(q.w, q.r) && s.park() {
		s.pump()
		return
	}
	s.stay()
	source.Gone()
}

// stay is the life of a stream that keeps its goroutine.
func (s *Stream) stay() {
	q := s.held
	defer s.Close()
	for {
		more, ends, err := s.draw()
		if ends || err != nil {
			return
		}
		if more {
			continue
		}
		select {
		case <-q.kick:
		case <-q.r.Context().Done():
			return
		}
	}
}

// spaces are lent for what is being written.
var spaces = sync.Pool{New: func() any { b := make([]byte, 0, piece+4<<10); return &b }}

// draw writes once; memory is lent for it only.
func (s *Stream) draw() (more, ends bool, err error) {
	space := spaces.Get().(*[]byte)
	defer spaces.Put(space)
	b, more, ends := s.source.Next((*space)[:0])
	return more, ends, s.held.write(b)
}
