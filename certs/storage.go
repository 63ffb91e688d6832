package certs

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caddyserver/certmagic"
)

// sayAgain is how often faults of storage are said, and their end.
const sayAgain = 10 * time.Minute

// A store is certmagic's storage, and says when it fails and when it works again.
// Nothing that is served depends on it until the program starts anew.
type store struct {
	certmagic.Storage
	path   string
	log    *slog.Logger
	failed func(stage string)
	faults atomic.Int64

	mu   sync.Mutex
	bad  [kinds]bool // what does not work now
	said time.Time
	open bool // its end has not been said
}

// A fault is an error of storage itself, and not of what is in it.
type fault struct{ error }

func (f fault) Unwrap() error { return f.error }

// What of storage can fail by itself.
const (
	reading = iota
	writing
	locking
	kinds
)

// String is for certmagic's log.
func (s *store) String() string { return s.path }

// close ends what the storage has begun.
func (s *store) close() {
	if c, ok := s.Storage.(interface{ close() }); ok {
		c.close()
	}
}

func (s *store) Store(ctx context.Context, key string, value []byte) error {
	err := s.Storage.Store(ctx, key, value)
	if errors.Is(err, errShut) {
		return err
	}
	return s.judge(err, writing)
}

func (s *store) Load(ctx context.Context, key string) ([]byte, error) {
	b, err := s.Storage.Load(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err = s.judge(err, reading); err == nil && !whole(key, b) {
		s.log.Warn("the account with the authority cannot be read from storage; another takes its place", "storage", s.path, "file", key)
		return nil, fs.ErrNotExist
	}
	return b, err
}

// whole reports whether b may be what key is for, if that is a file of an account:
// certmagic would make no order any more, and a new account costs nothing.
func whole(key string, b []byte) bool {
	if !strings.HasPrefix(key, "acme/") || !strings.Contains(key, "/users/") {
		return true
	}
	switch path.Ext(key) {
	case ".json":
		return json.Valid(b)
	case ".key":
		_, err := certmagic.PEMDecodePrivateKey(b)
		return err == nil
	}
	return true
}

func (s *store) Lock(ctx context.Context, name string) error {
	err := s.Storage.Lock(ctx, name)
	if ctx.Err() != nil || errors.Is(err, errShut) {
		return err
	}
	return s.judge(err, locking)
}

// TryLock takes a lock that nobody has. Without it certmagic would wait for one.
func (s *store) TryLock(ctx context.Context, name string) (bool, error) {
	try, ok := s.Storage.(certmagic.TryLocker)
	if !ok {
		return false, errors.ErrUnsupported
	}
	got, err := try.TryLock(ctx, name)
	if ctx.Err() != nil || errors.Is(err, errShut) {
		return got, err
	}
	return got, s.judge(err, locking)
}

// judge counts and says err, if it is one. That all is well again shows in each kind by
// itself: a disk that is full can be read.
func (s *store) judge(err error, kind int) error {
	if err == nil {
		if s.well(kind) {
			s.log.Info("the storage of certificates can be used again", "storage", s.path)
		}
		return nil
	}
	s.faults.Add(1)
	s.failed("storage")
	if s.news(kind) {
		s.log.Error("the storage of certificates cannot be used; what is served stays so, and it is tried again",
			"storage", s.path, "err", err, "do", storageRemedy(err))
	}
	return fault{err}
}

// news reports whether a fault is to be said.
func (s *store) news(kind int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad[kind] = true
	if !s.said.IsZero() && time.Since(s.said) < sayAgain {
		return false
	}
	s.said, s.open = time.Now(), true
	return true
}

// well reports whether this was the last fault's end, and is to be said.
func (s *store) well(kind int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad[kind] = false
	if !s.open || s.failing() {
		return false
	}
	s.open = false
	return true
}

// fails reports whether the last use failed.
func (s *store) fails() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failing()
}

// failing is fails under the lock.
func (s *store) failing() bool { return s.bad != [kinds]bool{} }

// storageRemedy is what an operator can do about err.
func storageRemedy(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room where tls.storage is"
	case errors.Is(err, syscall.EROFS):
		return "mount tls.storage so that it can be written to"
	case errors.Is(err, fs.ErrPermission):
		return "let the user that runs this program read and write tls.storage"
	}
	return "see that tls.storage is there and can be read and written"
}
