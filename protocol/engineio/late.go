package engineio

import (
	"sync"

	"sidecar/session"
)

// maxLate bounds the sessions that lates remember: the oldest go first.
const maxLate = 1024

// lates are sessions that their clients have closed while no poll was open. Where
// the POST that says so overtakes the GET that it was sent beside, that GET is to
// have the answer that it would have had the other way round: once.
type lates struct {
	mu    sync.Mutex
	all   map[parted]struct{}
	order []parted // a ring, once there are maxLate
	next  int
}

type parted struct {
	sid string
	who session.Identity
}

func (l *lates) add(sid string, who session.Identity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = make(map[parted]struct{})
	}
	p := parted{sid, who}
	l.all[p] = struct{}{}
	if len(l.order) < maxLate {
		l.order = append(l.order, p)
		return
	}
	delete(l.all, l.order[l.next])
	l.order[l.next] = p
	l.next = (l.next + 1) % maxLate
}

// take reports whether a poll is late for that session. The next is not.
func (l *lates) take(sid string, who session.Identity) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := parted{sid, who}
	_, ok := l.all[p]
	delete(l.all, p)
	return ok
}
