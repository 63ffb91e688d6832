package session

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

var (
	// ErrUnknown is what Find returns for an id that never was, is forgotten, or is
	// another identity's: from outside these look the same.
	ErrUnknown = errors.New("no such session")
	// ErrTaken is what Open returns for an id that this identity has a session of.
	ErrTaken = errors.New("there is a session of that id")
	// ErrFull is what Open returns where all sessions together hold Memory.
	ErrFull = errors.New("sessions hold as much memory as they may")
)

// Sessions are all sessions of the program, of every route and protocol.
type Sessions struct {
	// Owner begins every id, so that replicas can tell whose a session is. It may
	// be empty, and is no secret.
	Owner string
	// Memory is the most bytes that all sessions may take together, by Held. At the
	// bound no session is opened, and each that lives is given one message at a
	// time. 0: none.
	Memory int64
	// EvictAway ends the sessions whose clients have been away for longest, with
	// the reason Evicted, where one is to be opened at the bound. False: it is refused.
	EvictAway bool

	held  atomic.Int64
	newer atomic.Pointer[Memory] // in the place of Memory and EvictAway

	mu         sync.Mutex
	live       map[key]*Session
	head, tail *Session // of those that are away, longest first
	tombstones *lru.Cache[key, Reason]
}

// A key is what a session is found by. Ids that clients choose may be anybody's:
// each identity has its own.
type key struct {
	id  string
	who Identity
}

// tombstones is how many ended sessions are remembered. The oldest go first: their
// clients are told that the session is unknown.
const tombstones = 10_000

// An Opening is what a session begins with.
type Opening struct {
	// ID is made by NewID, or chosen by the client where its protocol has it so.
	// Empty: Open makes one.
	ID       string
	Identity Identity  // of the request that opens it
	Settings *Settings // shared, and not changed any more
	Backend  Backend
	Observer Observer // nil: nobody
	Protocol any      // for the protocol that opens it
	// Ended is called once, in the end, without locks. It must not wait. Nil: not.
	Ended func(why Reason)
}

// Open begins a session. Its client counts as away until a carrier is attached.
// The backend's connection is the session's from now on; after an error it is
// still the caller's.
func (t *Sessions) Open(o Opening) (*Session, error) {
	for t.full() {
		if !t.bound().Evict || !t.evictOne() {
			return nil, ErrFull
		}
	}
	s := &Session{
		sessions: t, key: key{o.ID, o.Identity}, settings: o.Settings, backend: o.Backend,
		observer: o.Observer, protocol: o.Protocol, ended: o.Ended, opened: time.Now(),
	}
	if s.key.id == "" {
		s.key.id = NewID(t.Owner)
	}
	if s.observer == nil {
		s.observer = nobody{}
	}
	s.mu.Lock() // once added, others may find it: it must be away by then
	added := t.add(s)
	if added {
		s.leave()
	}
	s.mu.Unlock()
	if !added {
		return nil, ErrTaken
	}
	s.observer.Opened()
	return s, nil
}

func (t *Sessions) add(s *Session) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live == nil {
		t.live = make(map[key]*Session)
		t.tombstones, _ = lru.New[key, Reason](tombstones) // fails only for a size of 0 or less
	}
	if t.live[s.key] != nil {
		return false
	}
	t.live[s.key] = s
	t.held.Add(perSession)
	return true
}

// Find is the session of that id, if who opened it. Where it has ended the error
// is a *Gone, else ErrUnknown.
func (t *Sessions) Find(id string, who Identity) (*Session, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := t.live[key{id, who}]; ok {
		return s, nil
	}
	if t.tombstones != nil {
		if why, ok := t.tombstones.Get(key{id, who}); ok {
			return nil, &Gone{why}
		}
	}
	return nil, ErrUnknown
}

// Len is how many sessions live.
func (t *Sessions) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.live)
}

// perSession is what a session counts for beside its messages.
const perSession = 1 << 10

// Held is how many bytes all sessions take: 1 KiB each, for each message 64
// beside its own, and what Hold was told.
func (t *Sessions) Held() int64 { return t.held.Load() }

// Hold counts n bytes more, or less, that a protocol keeps for a session beside what is
// counted here: what its client sent and the backend has not taken.
func (t *Sessions) Hold(n int64) { t.held.Add(n) }

// Short reports whether all sessions together hold as much as they may: a protocol
// keeps as little as it can then.
func (t *Sessions) Short() bool { return t.full() }

// All are the sessions that live now, in no order: for a drain.
func (t *Sessions) All() []*Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*Session, 0, len(t.live))
	for _, s := range t.live {
		all = append(all, s)
	}
	return all
}

// Set puts m in the place of Memory and EvictAway; it may be called while t is in
// use. Sessions that hold more than a lower bound live on, as at the bound.
func (t *Sessions) Set(m Memory) { t.newer.Store(&m) }

func (t *Sessions) bound() Memory {
	if m := t.newer.Load(); m != nil {
		return *m
	}
	return Memory{t.Memory, t.EvictAway}
}

// Full reports whether Open would now return ErrFull: to be asked before a backend is,
// which would otherwise be dialled for nothing by everybody who comes at the bound.
func (t *Sessions) Full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.full() && !(t.bound().Evict && t.head != nil)
}

func (t *Sessions) full() bool {
	most := t.bound().Limit
	return most > 0 && t.held.Load() >= most
}

// evictOne ends the session whose client has been away for longest, and reports
// whether there was one. The lock is not held meanwhile: a session's comes first.
func (t *Sessions) evictOne() bool {
	t.mu.Lock()
	s := t.head
	t.mu.Unlock()
	if s == nil {
		return false
	}
	s.evict()
	return true
}

// What follows is called under the session's lock.

// left puts s behind all others that are away.
func (t *Sessions) left(s *Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.prev, s.next = t.tail, nil
	if t.tail == nil {
		t.head = s
	} else {
		t.tail.next = s
	}
	t.tail = s
}

// back takes s out of those that are away.
func (t *Sessions) back(s *Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.prev == nil {
		t.head = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		t.tail = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.next, s.prev = nil, nil
}

// remove leaves a tombstone in the place of s.
func (t *Sessions) remove(s *Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.live, s.key)
	t.held.Add(-perSession)
	t.tombstones.Add(s.key, s.reason)
}
