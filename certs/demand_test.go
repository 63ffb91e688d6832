package certs

import (
	"testing"
	"testing/synctest"
	"time"
)

// An authority that lets an order hang is told of and asked again as one that refuses.
func TestOrdersOnDemandThatHang(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const name = "hang.demand.example"
		b := open(t, dir, onDemand("*.demand.example"))
		b.office.wait = make(chan struct{})
		start := time.Now()
		for range 2 { // the second finds it under way
			if b.leaf(name) != nil {
				t.Fatal("it is served")
			}
		}
		time.Sleep(jobTime + time.Second - time.Since(start))
		if n := b.said.lines("could not get a certificate on demand"); n != 1 || !b.told.has("obtain") {
			t.Errorf("%d lines, told of %v; want one, and obtain", n, b.told.stages)
		}
		if b.leaf(name) != nil || b.office.of(name) != 1 {
			t.Errorf("%d orders; want no other so soon", b.office.of(name))
		}
		close(b.office.wait)
		b.within(time.Minute, "the certificate", func() bool { return b.leaf(name) != nil })
	})
}
