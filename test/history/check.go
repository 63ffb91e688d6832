package history

import "fmt"

// A Report counts what went wrong.
type Report struct {
	Sent       int
	Lost       int // sent, and never arrived whole
	Silent     int // of the lost: those of sessions whose client was not told
	Gaps       int // of the lost: those after which a later one of the stream arrived
	Duplicated int // arrived again
	Reordered  int // arrived for the first time after a later one
	Foreign    int // belong to another stream, or were never sent
	Corrupt    int // changed on the way
}

func (r Report) String() string {
	return fmt.Sprintf("%d sent: %d lost (%d silently, %d with later ones behind them), %d duplicated, %d reordered, %d foreign, %d corrupt",
		r.Sent, r.Lost, r.Silent, r.Gaps, r.Duplicated, r.Reordered, r.Foreign, r.Corrupt)
}

// Clean reports whether everything arrived once, whole and in order.
func (r Report) Clean() bool { return r == Report{Sent: r.Sent} }

// Honest reports whether all that went wrong is what a connection without
// resumption may do: lose the end of a stream, and say so.
func (r Report) Honest() bool { return r == Report{Sent: r.Sent, Lost: r.Lost} }

// Check judges all that was recorded, once the senders and receivers are done.
func (h *History) Check() Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	var r Report
	for s, sent := range h.sent {
		h.checkStream(&r, s, sent)
	}
	for s, events := range h.received {
		if h.sent[s] == 0 {
			// Nothing was sent that could have arrived here.
			for _, e := range events {
				r.countStray(e)
			}
		}
	}
	return r
}

func (h *History) checkStream(r *Report, s Stream, sent int) {
	seen := make([]bool, sent+1)
	last := 0
	for _, e := range h.received[s] {
		switch {
		case e.n == 0 || e.from != s || e.n < 0 || e.n > sent:
			r.countStray(e)
			continue
		case seen[e.n]:
			r.Duplicated++
		case e.n < last:
			r.Reordered++
		}
		seen[e.n] = true
		last = max(last, e.n)
	}
	r.Sent += sent
	_, told := h.told[s.Session]
	for n := 1; n <= sent; n++ {
		if seen[n] {
			continue
		}
		r.Lost++
		if !told {
			r.Silent++
		}
		if n < last {
			r.Gaps++
		}
	}
}

func (r *Report) countStray(e event) {
	if e.n == 0 {
		r.Corrupt++
	} else {
		r.Foreign++
	}
}
