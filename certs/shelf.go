package certs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"

	"sidecar/regular"
)

const (
	// freshen is how often the time in a lock that is held is written again, and
	// staleAfter how old it is when the lock is nobody's. Both are certmagic's.
	freshen    = 5 * time.Second
	staleAfter = 2*freshen + time.Second
	lockPoll   = 500 * time.Millisecond
	// maxLock bounds what is read of a lock; ours have half of it.
	maxLock = 1 << 10
	// closeTime is what the end waits for locks to be given back, and twice that for all:
	// a drain that is over has a second more.
	closeTime = 500 * time.Millisecond
)

var errShut = errors.New("the program is stopping")

// A shelf is storage in a directory. What it has beyond certmagic's, which it is for
// all but locks, is that a lock has an owner: none is kept fresh or removed that has
// become another's meanwhile, as after a pause of this process. A lock whose time does
// not change for staleAfter is stale whatever that time is, so that neither a clock
// that was wrong nor a file that is not whole holds others up for ever; and the log is
// ours. The files are as certmagic has them, whose instances may share the directory.
type shelf struct {
	certmagic.FileStorage
	log *slog.Logger

	mu   sync.Mutex
	held map[string]*heldLock
	seen map[string]sighting // locks of others that we want
	shut bool
	out  sync.WaitGroup // one for each held, and each value that is being written
}

// A heldLock is a lock of ours. Its keeper ends when stop is closed.
type heldLock struct {
	file, owner string
	created     time.Time
	stop, ended chan struct{}
}

// A sighting is what a lock of another's held, and since when.
type sighting struct {
	text  string
	since time.Time
}

// A mark is what is written into a lock.
type mark struct {
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
	Owner   string    `json:"owner"` // unknown to certmagic
}

func newShelf(dir string, log *slog.Logger) *shelf {
	return &shelf{FileStorage: certmagic.FileStorage{Path: dir}, log: log, held: map[string]*heldLock{}, seen: map[string]sighting{}}
}

// Load reads a value. Like all that is read here, it is a regular file of 1 MiB at most.
func (s *shelf) Load(_ context.Context, key string) ([]byte, error) {
	b, err := regular.Read(s.Filename(key), maxFile)
	if unfit := regular.Unfit(""); errors.As(err, &unfit) {
		return nil, fmt.Errorf("%s %w", key, err)
	}
	return b, err
}

// Store writes a value. After close it does so only for who has a lock: a renewal of
// certmagic's may begin in the moment of the end, and is not to write behind it.
func (s *shelf) Store(ctx context.Context, key string, value []byte) error {
	s.mu.Lock()
	late := s.shut && len(s.held) == 0
	if !late {
		s.out.Add(1)
	}
	s.mu.Unlock()
	if late {
		return errShut
	}
	defer s.out.Done()
	return s.FileStorage.Store(ctx, key, value)
}

// Lock waits until the lock is ours, or ctx is done.
func (s *shelf) Lock(ctx context.Context, name string) error {
	defer s.forget(name)
	again := time.NewTicker(lockPoll)
	defer again.Stop()
	for {
		if got, err := s.TryLock(ctx, name); got || err != nil {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TryLock takes the lock if it is nobody's.
func (s *shelf) TryLock(_ context.Context, name string) (bool, error) {
	file := s.lockFile(name)
	got, err := s.take(name, file)
	if got || err != nil {
		return got, err
	}
	text, err := readLock(file)
	switch {
	case errors.Is(err, fs.ErrNotExist): // given back just now
	case err != nil:
		return false, fmt.Errorf("reading a lock: %w", err)
	case !s.stale(name, text):
		return false, nil
	default:
		// Two who find it stale may both remove it, and one of them the other's new
		// lock. Then there are two orders, which is better than none for ever.
		s.log.Info("removing a lock that somebody left in storage", "file", file)
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("removing a stale lock: %w", err)
		}
	}
	return s.take(name, file)
}

// take makes the lock's file, unless there is one.
func (s *shelf) take(name, file string) (bool, error) {
	if ok, err := s.begin(name); !ok {
		return false, err
	}
	h := &heldLock{
		file: file, owner: fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()), created: time.Now(),
		stop: make(chan struct{}), ended: make(chan struct{}),
	}
	if err := h.make(); err != nil {
		s.out.Done()
		if errors.Is(err, fs.ErrExist) {
			return false, nil
		}
		return false, fmt.Errorf("making a lock: %w", err)
	}
	s.mu.Lock()
	delete(s.seen, name)
	s.held[name] = h
	s.mu.Unlock()
	go s.keep(h)
	return true, nil
}

// begin counts a lock that is to be held, unless it is too late for it or it is held
// here: though another instance has taken its file away, two of us would have one entry.
func (s *shelf) begin(name string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.shut:
		return false, errShut
	case s.held[name] != nil:
		return false, nil
	}
	s.out.Add(1)
	return true, nil
}

// Unlock gives a lock of ours back.
func (s *shelf) Unlock(_ context.Context, name string) error {
	s.mu.Lock()
	h := s.held[name]
	delete(s.held, name)
	s.mu.Unlock()
	if h == nil {
		return fmt.Errorf("unlocking %q: it is not locked here", name)
	}
	defer s.out.Done()
	close(h.stop)
	<-h.ended
	if !h.ours() {
		return nil // keep has said so
	}
	if err := os.Remove(h.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a lock: %w", err)
	}
	return nil
}

// close lets nobody lock any more, and waits a while for those who have. What they
// have not given back then is taken from them: it would hold others up.
func (s *shelf) close() {
	s.mu.Lock()
	s.shut = true
	s.mu.Unlock()
	free := make(chan struct{})
	go func() {
		s.out.Wait()
		close(free)
	}()
	late := time.NewTimer(closeTime)
	defer late.Stop()
	select {
	case <-free:
		return
	case <-late.C:
	}
	s.mu.Lock()
	left := make([]string, 0, len(s.held))
	for name := range s.held {
		left = append(left, name)
	}
	s.mu.Unlock()
	for _, name := range left {
		_ = s.Unlock(context.Background(), name)
	}
}

func (s *shelf) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, name)
}

func (s *shelf) lockFile(name string) string {
	return filepath.Join(s.Path, "locks", certmagic.StorageKeys.Safe(name)+".lock")
}

// String is for certmagic's log.
func (s *shelf) String() string { return s.Path }

// stale reports whether a lock with this text is nobody's: its time is long ago, or has
// not changed for as long as we have looked. One of ours never is, however a clock that
// jumped makes it look.
func (s *shelf) stale(name, text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[name] != nil {
		return false
	}
	var m mark
	if json.Unmarshal([]byte(text), &m) == nil && !m.Updated.IsZero() && time.Since(m.Updated) > staleAfter {
		return true
	}
	was, known := s.seen[name]
	if !known || was.text != text {
		s.seen[name] = sighting{text, time.Now()}
		return false
	}
	return time.Since(was.since) > staleAfter
}

// keep writes the time into h until it is given back or lost.
func (s *shelf) keep(h *heldLock) {
	defer close(h.ended)
	t := time.NewTicker(freshen)
	defer t.Stop()
	told := false
	for {
		select {
		case <-h.stop:
			return
		case <-t.C:
		}
		err := h.freshen()
		if errors.Is(err, errLost) {
			s.log.Warn("a lock in storage was taken by another instance; there may be two orders", "file", h.file)
			return
		}
		if err != nil && !told {
			told = true
			s.log.Warn("a lock in storage cannot be kept fresh; another instance may take it", "file", h.file, "err", err)
		}
	}
}

var errLost = errors.New("it is another's")

// make makes the file. What cannot be written is removed: it would look like a lock.
func (h *heldLock) make() error {
	if err := os.MkdirAll(filepath.Dir(h.file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(h.file, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := h.write(f); err != nil {
		_ = os.Remove(h.file)
		return err
	}
	return nil
}

// freshen writes the time anew, into the file that is there: if somebody removes it
// meanwhile, it is gone.
func (h *heldLock) freshen() error {
	f, err := os.OpenFile(h.file, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return errLost
	}
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxLock))
	if err != nil {
		return err
	}
	if !h.owns(text) {
		return errLost
	}
	return h.write(f)
}

// write writes as many bytes each time, at once: nobody reads half of it.
func (h *heldLock) write(f *os.File) error {
	text, err := json.Marshal(mark{h.created, time.Now(), h.owner})
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(fmt.Appendf(nil, "%-*s\n", maxLock/2-1, text), 0); err != nil {
		return err
	}
	return f.Sync()
}

func (h *heldLock) ours() bool {
	text, err := readLock(h.file)
	return err == nil && h.owns([]byte(text))
}

// owns reports whether text is h's. An instance of certmagic's own, which may keep
// fresh what is no longer its lock, leaves the owner out.
func (h *heldLock) owns(text []byte) bool {
	var m mark
	if json.Unmarshal(text, &m) != nil {
		return false
	}
	return m.Owner == h.owner || m.Owner == "" && m.Created.Equal(h.created)
}

func readLock(file string) (string, error) {
	text, err := regular.Read(file, maxFile)
	return string(text[:min(len(text), maxLock)]), err
}
