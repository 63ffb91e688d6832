package certs

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
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

// By a clock that is far ahead whatever the authority issues has expired. Clients, whose
// clocks are right, are served; but not each of their handshakes is an order.
func TestAClockFarAheadOrdersLittle(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const name = "ahead.demand.example"
		b := open(t, dir, onDemand("*.demand.example"))
		b.local.life = -time.Hour
		for range 60 {
			if b.leaf(name) == nil {
				t.Fatal("it is not served")
			}
			time.Sleep(time.Second)
		}
		if n := b.office.of(name); n < 2 || n > 5 {
			t.Errorf("%d orders in a minute; want some, and few", n)
		}
		if n := b.said.lines(`do="see that the clock is right"`); n != int(b.office.of(name)) {
			t.Errorf("%d lines that say why; want one for each order", n)
		}
		b.local.life = leafLife // the clock is set
		b.within(2*time.Minute, "one that lasts", func() bool { return time.Now().Before(b.leaf(name).NotAfter) })
	})
}

// A name that is allowed no longer is not served by what has expired.
func TestAnExpiredCertificateOfANameThatIsRefused(t *testing.T) {
	dir := t.TempDir()
	var a asker
	s := httptest.NewServer(&a)
	defer s.Close()
	a.status.Store(http.StatusForbidden)
	const name = "refused.demand.example"
	stock(t, dir, name, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour), name)
	set := internalSettings("own.example")
	set.OnDemand.Ask = s.URL
	log := slog.New(slog.DiscardHandler)
	m, err := manage(set, Environment{Log: log}.withDefaults(), newShelf(dir, log), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c, err := m.load(t.Context(), m.demand, name) // as it was when the name was allowed
	if err != nil || !c.Expired() {
		t.Fatalf("in storage: %v, %v", c, err)
	}
	if got, err := m.get(helloOf(name)); got != nil || err != nil {
		t.Errorf("got %v, %v; want neither, for the alert unrecognized_name", got, err)
	}
}
