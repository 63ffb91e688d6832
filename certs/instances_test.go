package certs

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// What another instance has renewed before its time, as authorities may want it, is
// served here too.
func TestARenewalByAnotherInstanceIsServed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const name = "shared.renewal.example"
		one, two := open(t, dir, internalSettings(name)), open(t, dir, internalSettings(name))
		first := two.leaf(name)
		if !first.Equal(one.leaf(name)) {
			t.Fatal("two instances have two certificates")
		}
		if err := one.steady.RenewCertSync(t.Context(), name, true); err != nil {
			t.Fatal(err)
		}
		if first.Equal(one.leaf(name)) {
			t.Fatal("who has renewed it serves the old one")
		}
		two.within(2*two.env.Every, "what is new", func() bool { return two.leaf(name).Equal(one.leaf(name)) })
		if n := two.office.orders.Load(); n != 0 {
			t.Errorf("the other ordered %d times; want none", n)
		}
		if n := len(two.cache.AllMatchingCertificates(name)); n != 1 {
			t.Errorf("%d certificates for the name are in memory; want 1", n)
		}
	})
}

// A good certificate does not give way to one in storage that has expired, as of a
// backup.
func TestAnExpiredCertificateReplacesNoGoodOne(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const name = "backup.renewal.example"
		b := open(t, dir, internalSettings(name))
		first := b.leaf(name)
		stock(t, dir, name, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour), name)
		b.office.fail(gone)
		time.Sleep(3 * b.env.Every)
		if !b.leaf(name).Equal(first) {
			t.Error("the good one is not served any more")
		}
	})
}

// Where storage is slow, or hangs, the reading of what others renewed takes no place
// from the looks for challenges.
func TestReadingAgainHoldsNoChallengeUp(t *testing.T) {
	dir := t.TempDir()
	names := make([]string, 2*maxLooks)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.again.example", i)
		stock(t, dir, names[i], time.Now(), time.Now().Add(week), names[i])
	}
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{shelf: newShelf(dir, slog.New(slog.DiscardHandler)), reading: make(chan struct{}, len(names))}
		m := startLocal(t, h, dir, Environment{}, names...)
		defer m.Close() // in the bubble
		m.Begin()
		synctest.Wait()
		over := h.hang()
		defer over()
		time.Sleep(m.env.Every + time.Second)
		if len(h.reading) == 0 || len(h.reading) == len(names) {
			t.Fatalf("%d are read at once; want some, and not all", len(h.reading))
		}
		if len(m.looks) > 0 {
			t.Errorf("%d of %d looks for challenges are taken", len(m.looks), maxLooks)
		}
	})
}
