package certs

import (
	"errors"
	"log/slog"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// The storage's own faults are told apart from what is in it.
func TestFaultsOfStorage(t *testing.T) {
	s := &store{Storage: &faulty{}, log: slog.New(slog.DiscardHandler), failed: func(string) {}}
	err := s.judge(syscall.ENOSPC, writing)
	if !errors.As(err, new(fault)) || !errors.Is(err, syscall.ENOSPC) || !s.fails() {
		t.Errorf("got %v, fails %v", err, s.fails())
	}
	_ = s.judge(nil, reading)
	if !s.fails() {
		t.Error("a read mends a write")
	}
	_ = s.judge(nil, writing)
	if s.fails() {
		t.Error("a write does not mend a write")
	}
}

// Storage of which a part fails, or that fails now and then, fills no log: each of a
// thousand names is read again every ten minutes.
func TestStorageThatFailsNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said notes
		s := &store{Storage: &faulty{}, log: said.log(), failed: func(string) {}}
		tell := func(when string, faults, ends int) {
			t.Helper()
			for range 1000 {
				_ = s.judge(syscall.EIO, reading)
				_ = s.judge(nil, reading)
			}
			if f, e := said.lines("cannot be used"), said.lines("can be used again"); f != faults || e != ends {
				t.Errorf("%s: %d lines of faults and %d of their end; want %d and %d", when, f, e, faults, ends)
			}
		}
		tell("at first", 1, 1)
		time.Sleep(sayAgain - time.Second)
		tell("soon after", 1, 1)
		time.Sleep(time.Second)
		tell("later", 2, 2)
	})
}
