package certs

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
)

func shelfIn(t *testing.T, dir string) *shelf {
	t.Helper()
	s := newShelf(dir, slog.New(slog.DiscardHandler))
	t.Cleanup(s.close)
	return s
}

// left writes a lock as one who is gone left it, with the file's text.
func left(t *testing.T, s *shelf, name, text string) {
	t.Helper()
	file := s.lockFile(name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestALockExcludes(t *testing.T) {
	dir := t.TempDir()
	var inside, most atomic.Int32
	var all sync.WaitGroup
	for i := range 3 {
		s := shelfIn(t, dir)
		all.Go(func() {
			if err := s.Lock(context.Background(), "a"); err != nil {
				t.Errorf("%d: %v", i, err)
				return
			}
			most.Store(max(most.Load(), inside.Add(1)))
			inside.Add(-1)
			if err := s.Unlock(context.Background(), "a"); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	all.Wait()
	if most.Load() != 1 {
		t.Errorf("%d had it at once; want 1", most.Load())
	}
	if found, err := filepath.Glob(filepath.Join(dir, "locks", "*")); len(found) != 0 || err != nil {
		t.Errorf("%q are left, %v", found, err)
	}
}

// Whoever is gone holds nobody up for long, whatever its clock was and whatever it
// managed to write; who is there holds others up for as long as it likes.
func TestStaleLocks(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when a bubble begins
	old := func(at time.Time) string {
		return fmt.Sprintf(`{"created":%q,"updated":%q}`, at.Format(time.RFC3339Nano), at.Format(time.RFC3339Nano))
	}
	for name, c := range map[string]struct {
		text string
		most time.Duration
	}{
		"long ago":       {old(now.Add(-time.Hour)), 0},
		"just now":       {old(now), staleAfter + lockPoll},
		"in the future":  {old(now.AddDate(1, 0, 0)), staleAfter + lockPoll},
		"empty":          {"", staleAfter + lockPoll},
		"not whole":      {`{"created":"20`, staleAfter + lockPoll},
		"something else": {"\x00\xff", staleAfter + lockPoll},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := shelfIn(t, dir)
				left(t, s, "a", c.text)
				start := time.Now()
				if err := s.Lock(t.Context(), "a"); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took > c.most {
					t.Errorf("had it after %v; want %v at most", took, c.most)
				}
				if err := s.Unlock(t.Context(), "a"); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// handOn has the lock a given back by one and taken by the other at once, who gives it back.
func handOn(t *testing.T, one, other *shelf) {
	t.Helper()
	if err := one.Unlock(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if got, err := other.TryLock(t.Context(), "a"); !got || err != nil {
		t.Errorf("once it is free: %v, %v", got, err)
	}
	if err := other.Unlock(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

func TestALockThatIsHeldStaysFresh(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		one, two := shelfIn(t, dir), shelfIn(t, dir)
		if err := one.Lock(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := two.Lock(ctx, "a"); err != context.DeadlineExceeded {
			t.Errorf("the second got %v within an hour; want nothing", err)
		}
		handOn(t, one, two)
	})
}

// Whose lock was taken while it was halted neither keeps nor removes the other's.
func TestALostLockIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := shelfIn(t, dir)
		if err := s.Lock(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		const other = `{"created":"2000-01-01T00:00:00Z","updated":"2000-01-01T00:00:00Z","owner":"other"}`
		left(t, s, "a", other)
		time.Sleep(3 * freshen)
		if err := s.Unlock(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		if text, err := os.ReadFile(s.lockFile("a")); string(text) != other || err != nil {
			t.Errorf("the other's lock is %q, %v", text, err)
		}
	})
}

// A lock that is held here is not taken by others of this process, though a clock that
// jumped makes it look left by somebody: who has it first would give the other's back.
func TestALockThatIsHeldHereIsNotStale(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := shelfIn(t, dir)
		if err := s.Lock(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		h := s.held["a"]
		text, err := json.Marshal(mark{h.created, time.Now().Add(-time.Hour), h.owner})
		if err != nil {
			t.Fatal(err)
		}
		left(t, s, "a", string(text))
		if got, err := s.TryLock(t.Context(), "a"); got || err != nil {
			t.Errorf("before it is kept fresh: got it %v, %v; want that it is held", got, err)
		}
		time.Sleep(2 * freshen)
		handOn(t, s, s)
	})
}

// Nor is one whose file another instance has taken away, as after a pause of this
// process, until whoever has it here gives it back.
func TestALockThatIsHeldHereAndLostIsNotTakenTwice(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := shelfIn(t, dir)
		if err := s.Lock(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(s.lockFile("a")); err != nil {
			t.Fatal(err)
		}
		if got, err := s.TryLock(t.Context(), "a"); got || err != nil {
			t.Errorf("while it is held: got it %v, %v; want that it is held", got, err)
		}
		handOn(t, s, s)
		start := time.Now()
		if s.close(); time.Since(start) > 0 {
			t.Errorf("the end waited %v for a lock that nobody has", time.Since(start))
		}
	})
}

// certmagic's own locks and ours exclude each other, for a storage that both use.
func TestLocksAreCertmagics(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := shelfIn(t, dir), &certmagic.FileStorage{Path: dir}
	for _, c := range []struct{ first, second certmagic.Storage }{{ours, theirs}, {theirs, ours}} {
		if err := c.first.Lock(t.Context(), "issue_cert_a.example"); err != nil {
			t.Fatal(err)
		}
		if got, err := c.second.(certmagic.TryLocker).TryLock(shortly(t), "issue_cert_a.example"); got {
			t.Errorf("%T got what %T has (%v)", c.second, c.first, err)
		}
		if err := c.first.Unlock(t.Context(), "issue_cert_a.example"); err != nil {
			t.Error(err)
		}
	}
}

// shortly is a context that ends soon: certmagic's TryLock waits for a while.
func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// At the end nothing is locked any more, and nothing can be.
func TestAShelfThatIsClosedLeavesNoLock(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(dir, slog.New(slog.DiscardHandler))
		if err := s.Lock(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		s.close()
		if err := s.Lock(t.Context(), "b"); err != errShut {
			t.Errorf("a lock after the end: %v", err)
		}
		if err := s.Store(t.Context(), "c", nil); err != errShut {
			t.Errorf("a value after the end: %v", err)
		}
	})
	if found, err := filepath.Glob(filepath.Join(dir, "locks", "*")); len(found) != 0 || err != nil {
		t.Errorf("%q are left, %v", found, err)
	}
}
