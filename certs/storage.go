package certs

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caddyserver/certmagic"
)

// sayAgain is how often the same fault of storage is said again.
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
	last string // the fault that there is now, "" for none
	said time.Time
}

func (s *store) Store(ctx context.Context, key string, value []byte) error {
	return s.judge(s.Storage.Store(ctx, key, value), true)
}

func (s *store) Load(ctx context.Context, key string) ([]byte, error) {
	b, err := s.Storage.Load(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return b, s.judge(err, false)
}

func (s *store) Lock(ctx context.Context, name string) error {
	err := s.Storage.Lock(ctx, name)
	if ctx.Err() != nil {
		return err
	}
	return s.judge(err, false)
}

// TryLock takes a lock that nobody has. Without it certmagic would wait for one.
func (s *store) TryLock(ctx context.Context, name string) (bool, error) {
	try, ok := s.Storage.(certmagic.TryLocker)
	if !ok {
		return false, errors.ErrUnsupported
	}
	got, err := try.TryLock(ctx, name)
	return got, s.judge(err, false)
}

// judge counts and says err, if it is one. Only a write that went well shows that all
// is well again.
func (s *store) judge(err error, wrote bool) error {
	switch {
	case err != nil:
		s.faults.Add(1)
		s.failed("storage")
		if s.news(err.Error()) {
			s.log.Error("the storage of certificates cannot be used; what is served stays so, and it is tried again",
				"storage", s.path, "err", err, "do", storageRemedy(err))
		}
	case wrote && s.news(""):
		s.log.Info("the storage of certificates can be used again", "storage", s.path)
	}
	return err
}

// news reports whether what is wrong now is to be said.
func (s *store) news(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if what == "" {
		was := s.last != ""
		s.last = ""
		return was
	}
	if s.last != "" && time.Since(s.said) < sayAgain {
		return false
	}
	s.last, s.said = what, time.Now()
	return true
}

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
