package engineio

import (
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"sidecar/session"
)

// maxLate bounds the sessions that lates remember: the oldest go first.
const maxLate = 1024

// lates are sessions that their clients have closed while no poll was open. Where
// the POST that says so overtakes the GET that it was sent beside, that GET is to
// have the answer that it would have had the other way round: once. The zero lates
// are ready.
type lates struct {
	once sync.Once
	all  *lru.Cache[parted, struct{}]
}

type parted struct {
	sid string
	who session.Identity
}

func (l *lates) sessions() *lru.Cache[parted, struct{}] {
	l.once.Do(func() { l.all, _ = lru.New[parted, struct{}](maxLate) }) // fails only for a size of 0 or less
	return l.all
}

func (l *lates) add(sid string, who session.Identity) {
	l.sessions().Add(parted{sid, who}, struct{}{})
}

// take reports whether a poll is late for that session. The next is not.
func (l *lates) take(sid string, who session.Identity) bool {
	return l.sessions().Remove(parted{sid, who})
}
