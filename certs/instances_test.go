package certs

import (
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
