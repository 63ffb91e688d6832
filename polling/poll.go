package polling

import (
	"net/http"
	"sync"
)

// A Poll is a request whose answer is held back.
type Poll struct {
	desk *Desk
	w    http.ResponseWriter
	r    *http.Request
	gone func()

	mu       sync.Mutex // guards over, and what is set with it
	over     bool       // it was answered, or the client left
	answer   Answer
	done     func(ok bool)
	answered chan struct{}
}

// Hold keeps the answer to r back, which will have the headers that are set on w
// now. A body of r must have been read by Read. gone is called at most once,
// without locks held by polling, if the client leaves before Answer, or is cut;
// client means its connection, or its stream over HTTP/2. A client that sends its
// next request before it has the answer is no longer watched: its leaving is found
// out by the answer.
//
// The handler must then call Wait, and return.
func (d *Desk) Hold(w http.ResponseWriter, r *http.Request, gone func()) (*Poll, error) {
	return &Poll{desk: d, w: w, r: r, gone: gone, answered: make(chan struct{})}, nil
}

// Answer answers. It does not wait, and may be called from any goroutine and more
// than once. False: the poll is over already, for it was answered or the client
// left, and nothing is called.
//
// done, which may be nil, is called once and without locks held by polling: true
// once the kernel has taken the whole answer, false if it never will. It may run
// before Answer returns, and the client's next request may be there before it.
func (p *Poll) Answer(a Answer, done func(ok bool)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return false
	}
	p.over, p.answer, p.done = true, a, done
	close(p.answered)
	return true
}

// Wait is the last thing that a handler calls, and what answers the client where
// the request keeps its goroutine. If the client leaves, it panics with
// http.ErrAbortHandler, as net/http wants it, after gone has returned.
func (p *Poll) Wait() {
	select {
	case <-p.answered:
	case <-p.r.Context().Done():
		if p.leave() {
			panic(http.ErrAbortHandler) // or there would be an answer, to a client that is only cut
		}
	}
	ok := p.desk.Write(p.w, p.r, p.answer)
	if p.done != nil {
		p.done(ok)
	}
}

// leave ends a poll whose client left, unless it was answered.
func (p *Poll) leave() bool {
	p.mu.Lock()
	over := p.over
	p.over = true
	p.mu.Unlock()
	if over {
		return false
	}
	if p.gone != nil {
		p.gone()
	}
	return true
}
