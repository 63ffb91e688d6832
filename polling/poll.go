package polling

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"sidecar/loop"
)

// A Poll is a request whose answer is held back.
type Poll struct {
	mu   sync.Mutex // guards what follows; before the loops' locks
	held *request   // nil once it is parked
	seat *seat      // nil until then
	head []byte     // the answer's, but for what depends on the answer
}

// A request is a poll that keeps its goroutine.
type request struct {
	desk *Desk
	w    http.ResponseWriter
	r    *http.Request
	gone func()

	over     bool // it was answered, or the client left
	answer   Answer
	done     func(ok bool)
	answered chan struct{}
}

// Hold keeps the answer to r back, which will have the headers that are set on w
// now. A body of r is to be read by Read first, or its client's leaving is not
// noticed. gone, which may be nil, is called at most once, without locks held by
// polling, if the client leaves before Answer, or is cut; client means its
// connection, or its stream over HTTP/2. A client that sends its next request before
// it has the answer is no longer watched: its leaving is found out by the answer.
//
// The handler must then call Wait, and return. The error is for what cannot be
// held; there is no such thing yet.
func (d *Desk) Hold(w http.ResponseWriter, r *http.Request, gone func()) (*Poll, error) {
	return &Poll{held: &request{desk: d, w: w, r: r, gone: gone, answered: make(chan struct{})}}, nil
}

// Answer answers. It does not wait, and may be called from any goroutine, but not
// within a loop's callback, and more than once. False: the poll is over already, for
// it was answered or the client left, and nothing is called.
//
// done, which may be nil, is called once and without locks held by polling: true
// once the kernel has taken the whole answer, false if it never will. It may run
// before Answer returns, and the client's next request may be there before it.
func (p *Poll) Answer(a Answer, done func(ok bool)) bool {
	p.mu.Lock()
	if q := p.held; q != nil {
		defer p.mu.Unlock()
		if q.over {
			return false
		}
		q.over, q.answer, q.done = true, a, done
		close(q.answered)
		return true
	}
	p.mu.Unlock()
	return p.send(a, done)
}

// send answers a poll that is parked.
func (p *Poll) send(a Answer, done func(ok bool)) bool {
	b := a.message(p.head, p.seat.lot.isClosing())
	taken, out, ok := p.seat.answer(b, true, done)
	if out && done != nil {
		done(ok)
	}
	return taken
}

// Wait is the last thing that a handler calls, and what answers the client where
// the request keeps its goroutine. Where it need not, Wait returns once the poll is
// parked. If the client leaves, it panics with http.ErrAbortHandler, as net/http
// wants it, after gone has returned.
func (p *Poll) Wait() {
	q := p.held // only Wait changes it
	var park <-chan struct{}
	if q.desk.parks(q.w, q.r) {
		a := q.desk.Lot.setAlarm()
		defer a.stop()
		park = a.rang
	}
	for {
		select {
		case <-q.answered:
			q.write()
			return
		case <-q.r.Context().Done():
			if p.leave() {
				panic(http.ErrAbortHandler) // or there would be an answer, to a client that is only cut
			}
		case <-park:
			if p.park() {
				return
			}
			park = nil
		}
	}
}

func (q *request) write() {
	ok := q.desk.Write(q.w, q.r, q.answer)
	if q.done != nil {
		q.done(ok)
	}
}

// leave ends a poll whose client left, unless it was answered.
func (p *Poll) leave() bool {
	p.mu.Lock()
	q := p.held
	over := q.over
	q.over = true
	p.mu.Unlock()
	if over {
		return false
	}
	if q.gone != nil {
		q.gone()
	}
	return true
}

// parks reports whether a request can wait without a goroutine: over HTTP/1.1 in
// clear, where the connection lives on after the answer. What is left of a body
// would be taken for the next request, and a body in answer to HEAD for the next
// answer.
func (d *Desk) parks(w http.ResponseWriter, r *http.Request) bool {
	return d.Lot != nil && loop.Native && d.Lot.Loops != nil &&
		r.ProtoMajor == 1 && r.ProtoMinor == 1 && r.TLS == nil && !r.Close && !saysClose(w.Header()) &&
		r.Body == http.NoBody && r.Method != http.MethodHead
}

func saysClose(h http.Header) bool {
	return slices.ContainsFunc(h["Connection"], func(s string) bool { return strings.EqualFold(s, "close") })
}

// park takes the connection out of net/http and puts it into the lot. False: the
// lot takes nobody any more.
func (p *Poll) park() bool {
	q := p.held
	head := headOf(q.w.Header())
	s, conn, ahead := q.desk.vacate(q.w)
	if s == nil {
		return false
	}
	// The lock keeps Answer away until the seat can be answered, while the client
	// may leave as soon as it is watched.
	p.mu.Lock()
	p.held, p.seat, p.head = nil, s, head
	if !q.over {
		s.gone = q.gone
	}
	s.loop.Do(func() { s.sit(conn, ahead) })
	p.mu.Unlock()
	if q.over && !p.send(q.answer, q.done) && q.done != nil {
		q.done(false)
	}
	return true
}

// vacate takes a connection out of net/http, for a seat in the lot; ahead is what of it
// was read already. Nil: the lot takes nobody any more.
func (d *Desk) vacate(w http.ResponseWriter) (s *seat, conn net.Conn, ahead []byte) {
	if s = d.Lot.enter(); s == nil {
		return nil, nil, nil
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		d.Lot.leave(s)
		return nil, nil, nil
	}
	s.timeout = d.writeTimeout()
	return s, withoutFront(conn), readAhead(rw.Reader)
}
