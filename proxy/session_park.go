package proxy

import (
	"errors"
	"time"

	"sidecar/loop"
)

// errIdle is what a read returns when the hop may be parked.
var errIdle = errors.New("nothing comes")

// on has hops be parked in loops.
func (t *hopTerms) on(loops *loop.Group) *hopTerms {
	t.loops = loops
	return t
}

// readAwhile reads, but for no longer than a pause where no message has begun. The
// deadline is not set for each read: that costs as much as a small one. For what a loop
// saw come none is needed.
func (h *hop) readAwhile() ([]byte, error) {
	if h.loaned {
		h.loaned = false
		if b, err := h.stream.readNow(); err != nil || len(b) > 0 {
			return b, err
		}
	}
	for {
		if h.wakes == 0 {
			at := time.Now().Add(h.terms.pause)
			h.wakes = instantOf(at)
			h.Conn.SetReadDeadline(at)
		}
		b, err := h.stream.read()
		if err == nil || !isLate(err) {
			return b, err
		}
		h.wakes = 0
		if !h.begun() && h.last.since(time.Now()) >= h.terms.pause {
			return nil, errIdle
		}
	}
}

// stayUp has the reader wait by itself from now on.
func (h *hop) stayUp() {
	if h.parks {
		h.parks = false
		h.Conn.SetReadDeadline(time.Time{})
	}
}

// park has a loop wait in the reader's place, which still counts as running: whoever
// closes the connection calls rouse. False: the reader is to go on. mu is not held where
// the loop is waited for, since all who write need it.
func (h *hop) park() bool {
	h.release()
	h.mu.Lock()
	if h.loop == nil {
		h.loop = h.terms.loops.Pick()
	}
	h.mu.Unlock()
	h.loaned, h.wakes = true, 0 // by now: what Lend brings about may come before it returns
	err := errHangingUp
	h.loop.Do(func() {
		h.mu.Lock() // behind the loop's lock
		defer h.mu.Unlock()
		if !h.severed {
			err = h.loop.Lend(&h.parked, socketOf(h.Conn), h, loop.Readable)
		}
	})
	if err != nil { // as where the loops were stopped
		h.stayUp()
	}
	return err == nil
}

// Ready is the loop's word that something came, or the end did.
func (h *hop) Ready(*loop.Socket, loop.Events) {
	h.parked.Reclaim()
	go h.run()
}

// rouse has the reader go on, if it is parked. Once severed is set it is not parked any
// more behind that. The caller does not hold mu.
func (h *hop) rouse() {
	h.mu.Lock()
	l := h.loop
	h.mu.Unlock()
	if l == nil {
		return
	}
	l.Do(func() {
		if h.parked.Open() {
			h.Ready(nil, 0)
		}
	})
}
